/*
 * hash.c - SHA-256 by libcrypto, which picks the processor's own instructions.
 *
 * EVP_sha256() would make every call look the algorithm up again: it is fetched once a process
 * and never changes after that.
 */
#include "codec/hash.h"

#include <pthread.h>
#include <stdlib.h>

#include <openssl/evp.h>

struct cb_hasher {
    EVP_MD_CTX *state;
};

static pthread_once_t fetched = PTHREAD_ONCE_INIT;
static const EVP_MD *sha256;

static void fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL); /* lives as long as the process */
    if (sha256 == NULL)
        sha256 = EVP_sha256();
}

static const EVP_MD *algorithm(void)
{
    pthread_once(&fetched, fetch);
    return sha256;
}

/* A name that is not the hash would be a lie in the repository: no memory for it ends us. */
static void must(int result)
{
    if (result != 1)
        abort();
}

void cb_sha256(cb_bytes data, cb_hash *out)
{
    must(EVP_Digest(data.data, data.size, out->bytes, NULL, algorithm(), NULL));
}

cb_code cb_hasher_new(cb_hasher **out, cb_error *err)
{
    cb_hasher *hasher = calloc(1, sizeof(*hasher));

    *out = NULL;
    if (hasher == NULL)
        return cb_fail_memory(err, sizeof(*hasher));
    hasher->state = EVP_MD_CTX_new();
    if (hasher->state == NULL || EVP_DigestInit_ex(hasher->state, algorithm(), NULL) != 1) {
        cb_hasher_free(hasher);
        return cb_fail(err, CB_NO_MEMORY, "no memory for a SHA-256");
    }
    *out = hasher;
    return CB_OK;
}

void cb_hasher_step(cb_hasher *hasher, cb_bytes data)
{
    must(EVP_DigestUpdate(hasher->state, data.data, data.size));
}

void cb_hasher_end(cb_hasher *hasher, cb_hash *out)
{
    must(EVP_DigestFinal_ex(hasher->state, out->bytes, NULL));
    must(EVP_DigestInit_ex(hasher->state, algorithm(), NULL)); /* ready for the next one */
}

void cb_hasher_free(cb_hasher *hasher)
{
    if (hasher == NULL)
        return;
    EVP_MD_CTX_free(hasher->state);
    free(hasher);
}
