/*
 * Amazon's shared files, read as both kinds. What is accepted can be looked up; what is refused
 * names the file and a line, and leaves nothing behind.
 */
#include "fuzz.h"

#include <string.h>

#include "storage/auth/aws_file.h"

static void look_everything_up(const cb_aws_file *file)
{
    for (size_t i = 0; i < file->count && i < 200; i++) {
        const cb_aws_line *line = &file->lines[i];
        const char *value;

        FUZZ_CHECK(line->name != NULL && line->line > 0);
        FUZZ_CHECK(cb_aws_file_has(file, line->kind, line->name));
        if (line->key == NULL)
            continue;
        FUZZ_CHECK(line->key[0] != '\0' && line->value != NULL);
        value = cb_aws_file_get(file, line->kind, line->name, line->key, line->below);
        FUZZ_CHECK(value == NULL || strpbrk(value, "\n") == NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int is_credentials = 0; is_credentials < 2; is_credentials++) {
        cb_vault vault = {0};
        cb_error err = {0};
        cb_aws_file file;

        if (cb_aws_file_parse("file", cb_bytes_of(data, size), is_credentials != 0, &vault, &file,
                              &err) == CB_OK) {
            look_everything_up(&file);
        } else {
            FUZZ_CHECK(err.code == CB_USAGE && strncmp(err.message, "'file' line ", 12) == 0);
            FUZZ_CHECK(file.lines == NULL && file.count == 0);
        }
        cb_aws_file_free(&file);
        cb_vault_free(&vault);
    }
    return 0;
}
