/*
 * data_folder.c - where this program keeps what is of use to people later: dumps of catalogs, lists
 * of files that a restore left behind. The default repository lies there, too.
 */
#include "command/command_internal.h"

#include <stdio.h>
#include <stdlib.h>

cb_code cb_data_folder(char out[CB_PATH_MAX], cb_error *err)
{
    const char *xdg = getenv("XDG_DATA_HOME");
    const char *home = getenv("HOME");
    int length = 0;

    /* The XDG rules: a relative path there is to be ignored. */
    if (xdg != NULL && xdg[0] == '/')
        length = snprintf(out, CB_PATH_MAX, "%s/canvasback", xdg);
    else if (home != NULL && home[0] == '/')
        length = snprintf(out, CB_PATH_MAX, "%s/.local/share/canvasback", home);
    if (length <= 0) {
        cb_fail(err, CB_USAGE, "there is no home folder to keep the program's data in");
        cb_hint(err, "Set HOME or XDG_DATA_HOME, or name a folder.");
        return err->code;
    }
    if (length >= CB_PATH_MAX)
        return cb_fail(err, CB_TOO_LARGE, "the path of the program's data folder is too long");
    return cb_folder_make(out, err);
}
