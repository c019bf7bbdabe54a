/*
 * The terminal is asked, not standard input: that may be a pipe with data. While it does not show
 * what is typed, no signal may end the program, or the shell would be left with a mute terminal:
 * the handler only notes the signal, the terminal is put back, and then the signal is sent again.
 * After a stop (^Z) and its end the question is asked anew.
 */
#include "cli/ask.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

enum { LOOK_MS = 100 }; /* a signal may come to another thread: the flag is looked at */

static const int held[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};

static volatile sig_atomic_t came;

static void note(int number)
{
    came = number;
}

static void put_text(int fd, const char *text)
{
    size_t size = strlen(text);

    while (size > 0) {
        ssize_t wrote = write(fd, text, size);

        if (wrote < 0 && errno != EINTR)
            return;
        if (wrote > 0) {
            text += wrote;
            size -= (size_t)wrote;
        }
    }
}

/* One line; its end is not kept. False when it did not fit, at the end of the input, by a signal.
 */
static bool read_line(int fd, char *out, size_t size)
{
    size_t at = 0;

    for (;;) {
        struct pollfd polled = {.fd = fd, .events = POLLIN};
        char c;
        ssize_t got;

        if (came != 0)
            return false;
        if (poll(&polled, 1, LOOK_MS) <= 0)
            continue;
        got = read(fd, &c, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        if (c == '\n' || c == '\r')
            break;
        if (at < size)
            out[at] = c;
        at++; /* the rest of a line that is too long is read all the same */
    }
    if (at >= size)
        return false;
    out[at] = '\0';
    return at > 0;
}

static bool ask_once(int fd, const char *prompt, char *out, size_t size)
{
    struct sigaction action = {.sa_handler = note};
    struct sigaction before[CB_LENGTH(held)];
    struct termios usual;
    struct termios mute;
    bool done;

    if (tcgetattr(fd, &usual) != 0)
        return false;
    came = 0;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < CB_LENGTH(held); i++)
        (void)sigaction(held[i], &action, &before[i]);
    mute = usual;
    mute.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
    mute.c_lflag |= ICANON | ISIG;
    /* What was typed before the question is no answer to it. */
    done = tcsetattr(fd, TCSAFLUSH, &mute) == 0;
    if (done) {
        put_text(fd, prompt);
        put_text(fd, ": ");
        done = read_line(fd, out, size);
        put_text(fd, "\n");
    }
    (void)tcsetattr(fd, TCSAFLUSH, &usual);
    for (size_t i = 0; i < CB_LENGTH(held); i++)
        (void)sigaction(held[i], &before[i], NULL);
    return done;
}

bool cb_ask_terminal(const char *prompt, char *out, size_t size)
{
    CB_CLEANUP(cb_fd_close)
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    bool done;
    int number;

    out[0] = '\0';
    if (fd < 0)
        return false;
    do {
        done = ask_once(fd, prompt, out, size);
        number = came;
        if (number != 0)
            (void)kill(getpid(), number);
    } while (number == SIGTSTP);
    if (!done)
        explicit_bzero(out, size);
    return done;
}
