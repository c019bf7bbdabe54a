#include "cli/words.h"

#include "base/text.h"

#include <string.h>

cb_code cb_word_choose(const char *what, const char *text, const cb_word *words, size_t count,
                       int *value, cb_error *err)
{
    const char *near = NULL;
    unsigned nearest = 3; /* more than two slips is another word */

    for (size_t i = 0; i < count; i++) {
        unsigned distance = cb_text_distance(text, words[i].text);

        if (distance == 0) {
            *value = words[i].value;
            return CB_OK;
        }
        if (distance < nearest) {
            near = words[i].text;
            nearest = distance;
        }
    }
    cb_fail(err, CB_USAGE, "%s: there is no '%s'", what, text);
    if (near)
        cb_hint(err, "Did you mean '%s %s'?", what, near);
    else
        cb_hint(err, "'canvasback help %.*s' shows what there is.", (int)strcspn(what, " "), what);
    return err->code;
}
