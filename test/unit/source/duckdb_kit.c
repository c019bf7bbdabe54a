#include "duckdb_kit.h"

#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what)
{
    perror(what);
    exit(99);
}

void kit_seal(uint8_t *block, size_t size)
{
    cb_put_u64(block, cb_duckdb_checksum(cb_bytes_of(block + 8, size - 8)));
}

/* ---- blocks ------------------------------------------------------------------------------- */

static bool is_metadata(const kit_file *file, uint64_t id)
{
    for (size_t i = 0; i < file->metadata_count; i++)
        if (file->metadata[i] == id)
            return true;
    return false;
}

/* The stream of the free list, all of it. */
static void list_stream(const kit_file *file, cb_buf *out)
{
    cb_error err = {0};

    cb_ignore(cb_buf_u64(out, file->free_count, &err)); /* memory: the test would show it */
    for (size_t i = 0; i < file->free_count; i++)
        cb_ignore(cb_buf_u64(out, file->free_ids[i], &err));
    cb_ignore(cb_buf_u64(out, file->shared_count, &err));
    for (size_t i = 0; i < file->shared_count; i++) {
        cb_ignore(cb_buf_u64(out, file->metadata[0] + 1 + i, &err));
        cb_ignore(cb_buf_u32(out, 2, &err));
    }
    cb_ignore(cb_buf_u64(out, file->metadata_count, &err));
    for (size_t i = 0; i < file->metadata_count; i++) {
        cb_ignore(cb_buf_u64(out, file->metadata[i], &err));
        cb_ignore(cb_buf_u64(out, UINT64_C(0xff00000000000000), &err));
    }
}

static uint32_t sub_bytes(const kit_file *file)
{
    return (file->block_bytes - 8) / 64 / 8 * 8;
}

/* The n-th sub-block of the chain, counted over all metadata blocks. */
static uint64_t chain_pointer(const kit_file *file, size_t n)
{
    size_t step = file->skip_sub_blocks ? 2 : 1;
    size_t per_block = 64 / step;

    return file->metadata[n / per_block] | (uint64_t)(n % per_block * step) << 56;
}

static void metadata_block(const kit_file *file, uint64_t id, uint8_t *out)
{
    CB_CLEANUP(cb_buf_free) cb_buf stream = {0};
    size_t payload = sub_bytes(file) - 8;
    size_t count;

    memset(out, 0, file->block_bytes);
    list_stream(file, &stream);
    count = (stream.size + payload - 1) / payload;
    for (size_t n = 0; n < count; n++) {
        uint64_t pointer = chain_pointer(file, n);
        uint8_t *at = out + 8 + (pointer >> 56) * sub_bytes(file);
        size_t part = stream.size - n * payload;

        if ((pointer & 0xffffffffffffff) != id)
            continue;
        cb_put_u64(at, n + 1 < count ? chain_pointer(file, n + 1) : CB_DUCKDB_NONE);
        memcpy(at + 8, stream.data + n * payload, part < payload ? part : payload);
    }
}

void kit_block(const kit_file *file, uint64_t id, uint8_t *out)
{
    uint64_t state = (file->seed + 1) * UINT64_C(0x9e3779b97f4a7c15) + id;

    if (is_metadata(file, id)) {
        metadata_block(file, id, out);
    } else {
        for (uint32_t i = 8; i < file->block_bytes; i += 8) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            cb_put_u64(out + i, state);
        }
    }
    kit_seal(out, file->block_bytes);
}

uint64_t kit_free_list(const kit_file *file)
{
    return file->metadata_count == 0 ? CB_DUCKDB_NONE : chain_pointer(file, 0);
}

static void header_page(const kit_file *file, uint64_t iteration, uint8_t *out)
{
    memset(out, 0, CB_DUCKDB_PAGE);
    cb_put_u64(out + 8, iteration);
    cb_put_u64(out + 16, file->metadata_count == 0 ? CB_DUCKDB_NONE : file->metadata[0]);
    cb_put_u64(out + 24, kit_free_list(file));
    cb_put_u64(out + 32, file->block_count);
    cb_put_u64(out + 40, file->block_bytes);
    cb_put_u64(out + 48, 2048);
    kit_seal(out, CB_DUCKDB_PAGE);
}

void kit_pages(const kit_file *file, uint8_t out[CB_DUCKDB_HEAD])
{
    uint64_t before = file->iteration > 0 ? file->iteration - 1 : 0;

    memset(out, 0, CB_DUCKDB_PAGE);
    memcpy(out + 8, "DUCK", 4);
    cb_put_u64(out + 12, 64);
    memcpy(out + 52, "v1.5.6", 6);
    kit_seal(out, CB_DUCKDB_PAGE);
    header_page(file, file->iteration % 2 != 0 ? file->iteration : before, out + CB_DUCKDB_PAGE);
    header_page(file, file->iteration % 2 != 0 ? before : file->iteration,
                out + (size_t)2 * CB_DUCKDB_PAGE);
}

static bool is_free(const kit_file *file, uint64_t id)
{
    for (size_t i = 0; i < file->free_count; i++)
        if (file->free_ids[i] == id)
            return true;
    return false;
}

void kit_poke(const char *path, uint64_t offset, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

    if (fd < 0 || pwrite(fd, data, size, (off_t)offset) != (ssize_t)size || close(fd) != 0)
        die(path);
}

void kit_write(const kit_file *file, const char *path)
{
    uint8_t pages[CB_DUCKDB_HEAD];
    uint8_t *block = malloc(file->block_bytes);

    if (block == NULL)
        die("malloc");
    for (uint64_t id = 0; id < file->block_count; id++) {
        if (is_free(file, id))
            continue;
        kit_block(file, id, block);
        kit_poke(path, cb_duckdb_block_offset(id, file->block_bytes), block, file->block_bytes);
    }
    free(block);
    kit_pages(file, pages);
    kit_poke(path, 0, pages, sizeof(pages));
}

/* ---- logs --------------------------------------------------------------------------------- */

static void put(cb_buf *log, const void *data, size_t size)
{
    cb_error err = {0};

    if (cb_buf_append(log, data, size, &err) != CB_OK)
        die("log");
}

static void put_varint(cb_buf *log, uint64_t value)
{
    do {
        uint8_t byte = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));

        put(log, &byte, 1);
        value >>= 7;
    } while (value > 0);
}

/* As DuckDB writes a signed number: the sign in bit 6 of the last byte. */
static void put_signed(cb_buf *log, int64_t value)
{
    bool more = true;

    while (more) {
        uint8_t byte = (uint8_t)(value & 0x7f);

        value >>= 7;
        more = !((value == 0 && (byte & 0x40) == 0) || (value == -1 && (byte & 0x40) != 0));
        byte = (uint8_t)(byte | (more ? 0x80 : 0));
        put(log, &byte, 1);
    }
}

void kit_log_header(cb_buf *log, const uint8_t *identifier, uint64_t iteration)
{
    static const uint8_t version[] = {100, 0, 98, 101, 0, 2};
    static const uint8_t list[] = {102, 0, 16};
    static const uint8_t field[] = {103, 0};
    static const uint8_t end[] = {0xff, 0xff};

    put(log, version, sizeof(version));
    if (identifier != NULL) {
        put(log, list, sizeof(list));
        for (size_t i = 0; i < 16; i++)
            put_varint(log, identifier[i]);
        put(log, field, sizeof(field));
        put_varint(log, iteration);
    }
    put(log, end, sizeof(end));
}

void kit_log_frame(cb_buf *log, const void *payload, size_t size)
{
    uint8_t head[16];

    cb_put_u64(head, size);
    cb_put_u64(head + 8, cb_duckdb_checksum(cb_bytes_of(payload, size)));
    put(log, head, sizeof(head));
    put(log, payload, size);
}

void kit_log_entry(cb_buf *log, uint8_t type, size_t size)
{
    uint8_t *payload = malloc(size);

    if (payload == NULL || size < 5)
        die("entry");
    for (size_t i = 0; i < size; i++)
        payload[i] = (uint8_t)(i * 7 + type);
    memcpy(payload, (uint8_t[]){100, 0, type}, 3);
    memset(payload + size - 2, 0xff, 2);
    kit_log_frame(log, payload, size);
    free(payload);
}

void kit_log_flush(cb_buf *log)
{
    kit_log_frame(log, (uint8_t[]){100, 0, 100, 0xff, 0xff}, 5);
}

void kit_log_marker(cb_buf *log, uint64_t root)
{
    CB_CLEANUP(cb_buf_free) cb_buf payload = {0};

    put(&payload, (uint8_t[]){100, 0, 99, 101, 0, 100, 0}, 7);
    put_varint(&payload, root);
    put(&payload, (uint8_t[]){0xff, 0xff, 0xff, 0xff}, 4);
    kit_log_frame(log, payload.data, payload.size);
}

void kit_log_names(cb_buf *log, const uint64_t *ids, size_t count)
{
    CB_CLEANUP(cb_buf_free) cb_buf payload = {0};

    put(&payload, (uint8_t[]){100, 0, 29, 101, 0}, 5);
    for (size_t i = 0; i < count; i++) {
        put(&payload, (uint8_t[]){101, 0, 9, 102, 0, 100, 0}, 7);
        put_signed(&payload, (int64_t)ids[i]);
        if (i % 2 == 0) {
            put(&payload, (uint8_t[]){101, 0}, 2);
            put_varint(&payload, 4096 * i);
        }
        put(&payload, (uint8_t[]){0xff, 0xff, 103, 0, 1}, 5);
    }
    put(&payload, (uint8_t[]){0xff, 0xff}, 2);
    kit_log_frame(log, payload.data, payload.size);
}

void kit_log_write(const cb_buf *log, const char *database)
{
    char path[512];

    snprintf(path, sizeof(path), "%s.wal", database);
    (void)unlink(path);
    kit_poke(path, 0, log->data, log->size);
}

/* ---- files -------------------------------------------------------------------------------- */

cb_buf kit_slurp(const char *path)
{
    cb_buf out = {0};
    cb_error err = {0};

    if (cb_path_exists(path) && cb_file_slurp(path, &out, &err) != CB_OK)
        die(path);
    return out;
}

bool kit_same_files(const char *a, const char *b)
{
    CB_CLEANUP(cb_buf_free) cb_buf left = kit_slurp(a);
    CB_CLEANUP(cb_buf_free) cb_buf right = kit_slurp(b);

    return left.size == right.size &&
           (left.size == 0 || memcmp(left.data, right.data, left.size) == 0);
}

int kit_count_beside(const char *folder)
{
    DIR *at = opendir(folder);
    int count = 0;

    if (at == NULL)
        die(folder);
    for (const struct dirent *entry = readdir(at); entry != NULL; entry = readdir(at))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            count++;
    closedir(at);
    return count;
}

pid_t kit_hold(const char *path)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int ready[2];
    char byte = 0;
    pid_t pid;

    if (pipe(ready) != 0)
        die("pipe");
    pid = fork();
    if (pid == 0) {
        int fd = open(path, O_RDWR | O_CLOEXEC);

        if (fd < 0 || fcntl(fd, F_SETLK, &lock) != 0 || write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    if (pid < 0 || read(ready[0], &byte, 1) != 1)
        die("holder");
    close(ready[0]);
    return pid;
}

void kit_release(pid_t pid)
{
    int status;

    kill(pid, SIGKILL);
    if (waitpid(pid, &status, 0) != pid)
        die("waitpid");
}

/* ---- a copy ------------------------------------------------------------------------------- */

static cb_code give(kit_copy *c, cb_target *target, const cb_step *step, uint32_t number,
                    cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf data = {0};
    CB_CLEANUP(cb_buf_free) cb_buf there = {0};
    cb_code code = cb_source_read(c->open_source, &step->piece, &data, err);

    c->pieces++;
    if (step->piece.item == 0)
        put(&c->seen, &step->piece.index, sizeof(step->piece.index));
    if (code == CB_RETRY) {
        cb_error_clear(err);
        return CB_OK;
    }
    if (code == CB_OK && target->in_place)
        code = cb_target_read(target, number, step->piece.offset, step->piece.length, &there, err);
    if (code != CB_OK || (there.size == data.size && memcmp(there.data, data.data, data.size) == 0))
        return code;
    c->written += data.size;
    return cb_target_write(target, number, step->piece.offset, cb_buf_bytes(&data), err);
}

static cb_code steps(kit_copy *c, cb_target *target, cb_error *err)
{
    uint32_t numbers[8] = {0};
    cb_step step = {0};
    bool reuse;
    cb_code code = CB_OK;

    while (code == CB_OK) {
        code = cb_source_next(c->open_source, &step, err);
        if (code != CB_OK || step.kind == CB_STEP_END)
            return code;
        switch (step.kind) {
        case CB_STEP_ITEM:
            code = cb_target_item(target, &step.item, &numbers[step.piece.item], err);
            if (code == CB_OK)
                code = cb_source_take(c->open_source, NULL, &reuse, err);
            break;
        case CB_STEP_PIECE:
            code = give(c, target, &step, numbers[step.piece.item], err);
            break;
        case CB_STEP_HOLE:
            code = cb_target_hole(target, numbers[step.piece.item], step.piece.offset,
                                  step.piece.length, err);
            break;
        case CB_STEP_BARRIER: {
            uint64_t mark = ~(uint64_t)step.pass;

            put(&c->seen, &mark, sizeof(mark));
            if (c->at_barrier != NULL)
                c->at_barrier(step.pass, c->arg);
            break;
        }
        case CB_STEP_DONE:
            code = cb_target_done(target, numbers[step.piece.item], err);
            break;
        case CB_STEP_RESTART:
        case CB_STEP_END:
            break;
        }
    }
    return code;
}

cb_code kit_copy_run(cb_ctx *ctx, const char *from, const char *to, kit_copy *c, cb_error *err)
{
    cb_target *target = NULL;
    cb_code code;

    code = cb_duckdb_engine.source(ctx, from, &c->source, &c->open_source, err);
    if (code == CB_OK)
        code = cb_source_begin(c->open_source, c->parent_state, &c->unchanged, err);
    if (code == CB_OK && !c->unchanged) {
        code = cb_duckdb_engine.target(ctx, to, &c->target, &target, err);
        if (code == CB_OK)
            code = cb_target_prepare(target, err);
        if (code == CB_OK)
            code = steps(c, target, err);
        if (code == CB_OK)
            code = cb_target_finish(target, err);
        cb_target_free(target);
    }
    if (code == CB_OK)
        code = cb_source_end(c->open_source, &c->facts, err);
    return code;
}

void kit_copy_end(kit_copy *c)
{
    cb_source_free(c->open_source);
    cb_buf_free(&c->seen);
    c->open_source = NULL;
}
