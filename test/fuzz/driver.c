/*
 * driver.c - runs a fuzz target without a fuzzer, so that its corpus is a test.
 *
 *     fuzz_x CORPUS|- [MUTATIONS]
 *
 * Every file of the folder is run as it is, then MUTATIONS inputs made of them by a fixed seed
 * (CB_TEST_SEED gives another). An input that ends us is left behind as "crash-input".
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "random.h"

enum { INPUT_MAX = 1 << 16, FILES_MAX = 4096, MUTATIONS_USUAL = 20000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct input {
    char *name;
    uint8_t *data;
    size_t size;
} input;

static input inputs[FILES_MAX];
static size_t input_count;

/* What runs now, for the handler. */
static const uint8_t *volatile current;
static volatile size_t current_size;

static void keep_input(int number)
{
    int fd = open("crash-input", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    static const char text[] = "the input is kept as crash-input\n";

    if (fd >= 0)
        (void)!write(fd, current, current_size);
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    signal(number, SIG_DFL);
    raise(number);
}

static void run(const uint8_t *data, size_t size)
{
    /* An allocation of exactly that size: reading past it is seen by the sanitizer. */
    uint8_t *copy = malloc(size > 0 ? size : 1);

    if (copy == NULL)
        exit(99);
    if (size > 0)
        memcpy(copy, data, size);
    current = copy;
    current_size = size;
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void load(const char *folder, const char *name)
{
    char path[4096];
    input *into = &inputs[input_count];
    FILE *file;

    if (input_count == FILES_MAX || name[0] == '.')
        return;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(99);
    }
    into->data = malloc(INPUT_MAX);
    into->name = strdup(name);
    if (into->data == NULL || into->name == NULL)
        exit(99);
    into->size = fread(into->data, 1, INPUT_MAX, file);
    fclose(file);
    input_count++;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const input *)a)->name, ((const input *)b)->name);
}

static void load_corpus(const char *path)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;

    if (folder == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(99);
    }
    for (entry = readdir(folder); entry != NULL; entry = readdir(folder))
        load(path, entry->d_name);
    closedir(folder);
    qsort(inputs, input_count, sizeof(inputs[0]), by_name);
}

static void change(test_random *random, uint8_t *data, size_t *size)
{
    size_t at = *size > 0 ? (size_t)test_random_below(random, *size) : 0;
    size_t length;

    switch (test_random_below(random, 6)) {
    case 0: /* one bit */
        if (*size > 0)
            data[at] ^= (uint8_t)(1u << test_random_below(random, 8));
        break;
    case 1: /* one byte, often an edge */
        if (*size > 0) {
            static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff, 0xfe};

            data[at] = edges[test_random_below(random, sizeof(edges))];
        }
        break;
    case 2: /* cut off */
        *size = at;
        break;
    case 3: /* a piece is taken out */
        length = (size_t)test_random_below(random, *size - at + 1);
        memmove(data + at, data + at + length, *size - at - length);
        *size -= length;
        break;
    case 4: /* a piece comes twice */
        length = (size_t)test_random_below(random, *size - at + 1);
        if (*size + length <= INPUT_MAX) {
            memmove(data + at + length, data + at, *size - at);
            *size += length;
        }
        break;
    default: /* bytes behind */
        length = 1 + (size_t)test_random_below(random, 16);
        if (*size + length <= INPUT_MAX) {
            test_random_fill(random, data + *size, length);
            *size += length;
        }
        break;
    }
}

static void run_mutations(unsigned long count)
{
    static uint8_t data[INPUT_MAX];
    test_random random = test_random_seeded();

    for (unsigned long i = 0; i < count; i++) {
        unsigned changes = 1 + (unsigned)test_random_below(&random, 4);
        size_t size = 0;

        if (input_count > 0) {
            const input *from = &inputs[test_random_below(&random, input_count)];

            memcpy(data, from->data, from->size);
            size = from->size;
        }
        while (changes-- > 0)
            change(&random, data, &size);
        run(data, size);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s CORPUS|- [MUTATIONS]\n", argv[0]);
        return 99;
    }
    signal(SIGABRT, keep_input);
    signal(SIGSEGV, keep_input);
    signal(SIGFPE, keep_input);
    if (strcmp(argv[1], "-") != 0)
        load_corpus(argv[1]);
    run(NULL, 0);
    for (size_t i = 0; i < input_count; i++)
        run(inputs[i].data, inputs[i].size);
    run_mutations(argc > 2 ? strtoul(argv[2], NULL, 10) : MUTATIONS_USUAL);
    fprintf(stderr, "%zu files of the corpus run\n", input_count);
    for (size_t i = 0; i < input_count; i++) {
        free(inputs[i].data);
        free(inputs[i].name);
    }
    return 0;
}
