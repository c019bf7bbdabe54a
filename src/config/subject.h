/*
 * subject.h - what is said by the text of an address or of a backup's name alone: what the database
 * would be called, and whether a secret stands in it. Nothing is opened.
 */
#ifndef CB_CONFIG_SUBJECT_H
#define CB_CONFIG_SUBJECT_H

#include "base/error.h"

/*
 * What a source's address would be called: the base name without kind, trailing slashes and
 * suffix; of a lake whose catalog is in PostgreSQL the database. False when that is no name; then
 * *out is empty.
 */
enum { CB_NAME_TEXT_MAX = 65 };
bool cb_subject_of_source(const char *address, char out[CB_NAME_TEXT_MAX]);
/* NAME of NAME[@LABEL]; false for anything that is an address (has ':' or '/'). */
bool cb_subject_of_backup(const char *backup, char out[CB_NAME_TEXT_MAX]);

/* Is it the address of a lake, "ducklake:..."? */
bool cb_is_lake_address(const char *address);

/* Was a libpq string given without the quotes around it: ducklake:postgres:dbname=lake host=db1? */
bool cb_is_cut_address(const char *const *words, size_t count);

/* Does a password stand in it: "password=..." of a libpq string, user:password@ of a URI? */
bool cb_has_password(const char *address);

#endif
