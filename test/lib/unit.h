/*
 * unit.h - cmocka with what it needs before it, and checks that name the error they met.
 */
#ifndef CB_TEST_UNIT_H
#define CB_TEST_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Both evaluate `call`, which takes &err, once. */
#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) != CB_OK)                                                                       \
            fail_msg("%s: %s: %s", #call, cb_code_name(err.code), err.message);                    \
    } while (0)

#define assert_code(wanted, call)                                                                  \
    do {                                                                                           \
        cb_code code_ = (call);                                                                    \
        if (code_ != (wanted))                                                                     \
            fail_msg("%s: %s instead of %s: %s", #call, cb_code_name(code_), cb_code_name(wanted), \
                     err.message);                                                                 \
    } while (0)

#endif
