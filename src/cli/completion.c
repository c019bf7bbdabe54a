/*
 * Completion scripts. They hold plain lists of words; no script calls the program, so that the TAB
 * key never waits for a repository. Names and summaries come from our own tables: nothing in them
 * needs quoting beyond the single quote.
 */
#include "cli/reference.h"

#include "config/option.h"

#include <string.h>

cb_shell cb_shell_find(const char *name)
{
    static const char *const names[] = {"bash", "zsh", "fish"};

    for (unsigned i = 0; i < CB_SHELL_END; i++)
        if (strcmp(names[i], name) == 0)
            return (cb_shell)i;
    return CB_SHELL_END;
}

/* What may stand behind repo, and behind repo key. */
static const char repo_words[] = "check key sync list add remove change";
static const char lake_words[] = "status repoint orphans adopt migrate guard rollback dump undump";

static bool is_offered(unsigned command)
{
    return !cb_commands[command].is_reserved;
}

/* A secret is no option: it has a variable only. */
static bool is_flag_of(unsigned option, unsigned command)
{
    return !(cb_options[option].flags & CB_OPTION_SECRET) &&
           cb_option_applies((cb_option_id)option, (cb_command_id)command);
}

/* ---- words -------------------------------------------------------------------------------- */

static cb_code command_words(cb_buf *out, cb_error *err)
{
    cb_code code = CB_OK;

    for (unsigned i = 0; i < CB_COMMAND_END && code == CB_OK; i++)
        if (is_offered(i))
            code = cb_buf_format(out, err, "%s ", cb_commands[i].name);
    return code;
}

static cb_code option_words(unsigned command, cb_buf *out, cb_error *err)
{
    cb_code code = CB_OK;

    for (unsigned i = 0; i < CB_OPT_END && code == CB_OK; i++)
        if (is_flag_of(i, command))
            code = cb_buf_format(out, err, "--%s ", cb_options[i].name);
    return code;
}

/* "auto hot attach" */
static cb_code choice_words(const char *choices, cb_buf *out, cb_error *err)
{
    const char *word;
    size_t size;
    cb_code code = CB_OK;

    for (size_t n = 0; code == CB_OK && (word = cb_choice_at(choices, n, &size)) != NULL; n++)
        code = cb_buf_format(out, err, "%s%.*s", n > 0 ? " " : "", (int)size, word);
    return code;
}

/* Text inside single quotes of a shell; ':' is zsh's separator. */
static cb_code quoted(const char *text, cb_buf *out, cb_error *err)
{
    cb_code code = CB_OK;

    for (; *text && code == CB_OK; text++) {
        if (*text == '\'')
            code = cb_buf_append(out, "'\\''", 4, err);
        else if (*text == ':' || *text == '[' || *text == ']')
            code = cb_buf_append(out, " ", 1, err);
        else
            code = cb_buf_append(out, text, 1, err);
    }
    return code;
}

/* ---- bash --------------------------------------------------------------------------------- */

static cb_code bash_values(cb_buf *out, cb_error *err)
{
    cb_code code = cb_buf_format(out, err, "    case \"$previous\" in\n");

    for (unsigned i = 0; i < CB_OPT_END && code == CB_OK; i++) {
        const cb_option *option = &cb_options[i];

        if (option->flags & CB_OPTION_SECRET)
            continue;
        if (option->type == CB_TYPE_CHOICE) {
            code = cb_buf_format(out, err, "    --%s)\n        COMPREPLY=($(compgen -W \"",
                                 option->name);
            if (code == CB_OK)
                code = choice_words(option->choices, out, err);
            if (code == CB_OK)
                code = cb_buf_format(out, err, "\" -- \"$word\"))\n        return\n        ;;\n");
        } else if (option->type == CB_TYPE_PATH || i == CB_OPT_REPO)
            code = cb_buf_format(out, err,
                                 "    --%s)\n        COMPREPLY=($(compgen -f -- \"$word\"))\n"
                                 "        return\n        ;;\n",
                                 option->name);
        else if (option->type != CB_TYPE_FLAG)
            code = cb_buf_format(out, err, "    --%s)\n        return\n        ;;\n", option->name);
    }
    return code == CB_OK ? cb_buf_format(out, err, "    esac\n") : code;
}

static cb_code bash_options(cb_buf *out, cb_error *err)
{
    cb_code code = cb_buf_format(out, err, "    case \"$command\" in\n");

    for (unsigned i = 0; i < CB_COMMAND_END && code == CB_OK; i++) {
        if (!is_offered(i))
            continue;
        code = cb_buf_format(out, err, "    %s) options=\"", cb_commands[i].name);
        if (code == CB_OK)
            code = option_words(i, out, err);
        if (code == CB_OK)
            code = cb_buf_format(out, err, "\" ;;\n");
    }
    return code == CB_OK ? cb_buf_format(out, err, "    esac\n") : code;
}

static cb_code bash(cb_buf *out, cb_error *err)
{
    cb_code code;

    code = cb_buf_format(out, err,
                         "# bash completion of canvasback\n_canvasback()\n{\n"
                         "    local word=\"${COMP_WORDS[COMP_CWORD]}\"\n"
                         "    local previous=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
                         "    local command=\"\" options=\"\" at\n"
                         "    COMPREPLY=()\n");
    if (code == CB_OK)
        code = bash_values(out, err);
    if (code == CB_OK)
        code = cb_buf_format(out, err,
                             "    for ((at = 1; at < COMP_CWORD; at++)); do\n"
                             "        case \"${COMP_WORDS[at]}\" in\n        -*) ;;\n"
                             "        *) case \" $(_canvasback_commands) \" in\n"
                             "           *\" ${COMP_WORDS[at]} \"*) command=\"${COMP_WORDS[at]}\"; "
                             "break ;;\n           esac ;;\n        esac\n    done\n");
    if (code == CB_OK)
        code = bash_options(out, err);
    if (code == CB_OK)
        code = cb_buf_format(
            out, err,
            "    if [[ -z \"$command\" ]]; then\n"
            "        COMPREPLY=($(compgen -W \"$(_canvasback_commands)\" -- \"$word\"))\n"
            "    elif [[ \"$word\" == -* ]]; then\n"
            "        COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n"
            "    elif [[ \"$command\" == completion ]]; then\n"
            "        COMPREPLY=($(compgen -W \"bash zsh fish\" -- \"$word\"))\n"
            "    elif [[ \"$command\" == repo ]]; then\n"
            "        COMPREPLY=($(compgen -W \"%s\" -- \"$word\") "
            "$(compgen -f -- \"$word\"))\n"
            "    elif [[ \"$command\" == lake || \"$command $previous\" == \"help lake\" ]]; then\n"
            "        COMPREPLY=($(compgen -W \"%s\" -- \"$word\") "
            "$(compgen -f -- \"$word\"))\n"
            "    elif [[ \"$command\" == help ]]; then\n"
            "        COMPREPLY=($(compgen -W \"$(_canvasback_commands)\" -- \"$word\"))\n"
            "    else\n        COMPREPLY=($(compgen -f -- \"$word\"))\n    fi\n}\n"
            "_canvasback_commands()\n{\n    echo \"",
            repo_words, lake_words);
    if (code == CB_OK)
        code = command_words(out, err);
    if (code == CB_OK)
        code = cb_buf_format(out, err, "\"\n}\ncomplete -o filenames -F _canvasback canvasback\n");
    return code;
}

/* ---- zsh ---------------------------------------------------------------------------------- */

static cb_code zsh_option(const cb_option *option, cb_option_id id, cb_buf *out, cb_error *err)
{
    cb_code code = cb_buf_format(out, err, "            '%s--%s%s[",
                                 option->flags & CB_OPTION_REPEAT ? "*" : "", option->name,
                                 option->type == CB_TYPE_FLAG ? "" : "=");

    if (code == CB_OK)
        code = quoted(option->summary, out, err);
    if (code == CB_OK)
        code = cb_buf_format(out, err, "]");
    if (code == CB_OK && option->type == CB_TYPE_CHOICE) {
        code = cb_buf_format(out, err, ":value:(");
        if (code == CB_OK)
            code = choice_words(option->choices, out, err);
        if (code == CB_OK)
            code = cb_buf_format(out, err, ")");
    } else if (code == CB_OK && (option->type == CB_TYPE_PATH || id == CB_OPT_REPO))
        code = cb_buf_format(out, err, ":file:_files");
    else if (code == CB_OK && option->type != CB_TYPE_FLAG)
        code = cb_buf_format(out, err, ":value: ");
    return code == CB_OK ? cb_buf_format(out, err, "' \\\n") : code;
}

static cb_code zsh_command(unsigned command, cb_buf *out, cb_error *err)
{
    cb_code code =
        cb_buf_format(out, err, "    %s)\n        _arguments \\\n", cb_commands[command].name);

    for (unsigned i = 0; i < CB_OPT_END && code == CB_OK; i++)
        if (is_flag_of(i, command))
            code = zsh_option(&cb_options[i], (cb_option_id)i, out, err);
    if (code == CB_OK && command == CB_COMMAND_COMPLETION)
        return cb_buf_format(out, err, "            '*:shell:(bash zsh fish)'\n        ;;\n");
    if (code == CB_OK && command == CB_COMMAND_REPO)
        return cb_buf_format(out, err, "            '*:what:(%s)'\n        ;;\n", repo_words);
    if (code == CB_OK && command == CB_COMMAND_LAKE)
        return cb_buf_format(out, err,
                             "            '*:what:{_alternative \"verbs:verb:(%s)\" "
                             "\"files:file:_files\"}'\n        ;;\n",
                             lake_words);
    return code == CB_OK ? cb_buf_format(out, err, "            '*:file:_files'\n        ;;\n")
                         : code;
}

static cb_code zsh(cb_buf *out, cb_error *err)
{
    cb_code code;

    code = cb_buf_format(out, err,
                         "#compdef canvasback\n_canvasback()\n{\n    local -a commands\n"
                         "    commands=(\n");
    for (unsigned i = 0; i < CB_COMMAND_END && code == CB_OK; i++) {
        if (!is_offered(i))
            continue;
        code = cb_buf_format(out, err, "        '%s:", cb_commands[i].name);
        if (code == CB_OK)
            code = quoted(cb_commands[i].summary, out, err);
        if (code == CB_OK)
            code = cb_buf_format(out, err, "'\n");
    }
    if (code == CB_OK)
        code = cb_buf_format(out, err,
                             "    )\n    if (( CURRENT == 2 )); then\n"
                             "        _describe command commands\n        return\n    fi\n"
                             "    shift words\n    (( CURRENT-- ))\n    case \"$words[1]\" in\n");
    for (unsigned i = 0; i < CB_COMMAND_END && code == CB_OK; i++)
        if (is_offered(i))
            code = zsh_command(i, out, err);
    if (code == CB_OK)
        code = cb_buf_format(out, err,
                             "    esac\n}\nif [ \"$funcstack[1]\" = \"_canvasback\" ]; then\n"
                             "    _canvasback \"$@\"\nelse\n    compdef _canvasback canvasback\n"
                             "fi\n");
    return code;
}

/* ---- fish --------------------------------------------------------------------------------- */

static cb_code fish_option(unsigned id, cb_buf *out, cb_error *err)
{
    const cb_option *option = &cb_options[id];
    cb_code code = cb_buf_format(out, err, "complete -c canvasback");

    if (code == CB_OK && !cb_option_is_common((cb_option_id)id)) {
        code = cb_buf_format(out, err, " -n '__fish_seen_subcommand_from");
        for (unsigned i = 0; i < CB_COMMAND_END && code == CB_OK; i++)
            if (is_offered(i) && cb_option_applies((cb_option_id)id, (cb_command_id)i))
                code = cb_buf_format(out, err, " %s", cb_commands[i].name);
        if (code == CB_OK)
            code = cb_buf_format(out, err, "'");
    }
    if (code == CB_OK && option->letter)
        code = cb_buf_format(out, err, " -s %c", option->letter);
    if (code == CB_OK)
        code = cb_buf_format(out, err, " -l %s -d '", option->name);
    if (code == CB_OK)
        code = quoted(option->summary, out, err);
    if (code == CB_OK)
        code = cb_buf_format(out, err, "'");
    if (code == CB_OK && option->type == CB_TYPE_CHOICE) {
        code = cb_buf_format(out, err, " -x -a '");
        if (code == CB_OK)
            code = choice_words(option->choices, out, err);
        if (code == CB_OK)
            code = cb_buf_format(out, err, "'");
    } else if (code == CB_OK && (option->type == CB_TYPE_PATH || id == CB_OPT_REPO))
        code = cb_buf_format(out, err, " -r -F");
    else if (code == CB_OK && option->type != CB_TYPE_FLAG)
        code = cb_buf_format(out, err, " -x");
    return code == CB_OK ? cb_buf_append(out, "\n", 1, err) : code;
}

static cb_code fish(cb_buf *out, cb_error *err)
{
    cb_code code = cb_buf_format(out, err, "# fish completion of canvasback\n");

    for (unsigned i = 0; i < CB_COMMAND_END && code == CB_OK; i++) {
        if (!is_offered(i))
            continue;
        code =
            cb_buf_format(out, err, "complete -c canvasback -f -n __fish_use_subcommand -a %s -d '",
                          cb_commands[i].name);
        if (code == CB_OK)
            code = quoted(cb_commands[i].summary, out, err);
        if (code == CB_OK)
            code = cb_buf_format(out, err, "'\n");
    }
    for (unsigned i = 0; i < CB_OPT_END && code == CB_OK; i++)
        if (!(cb_options[i].flags & CB_OPTION_SECRET))
            code = fish_option(i, out, err);
    if (code == CB_OK)
        code = cb_buf_format(out, err,
                             "complete -c canvasback -f -n '__fish_seen_subcommand_from "
                             "completion' -a 'bash zsh fish'\n"
                             "complete -c canvasback -n '__fish_seen_subcommand_from repo' -a "
                             "'%s'\n"
                             "complete -c canvasback -n '__fish_seen_subcommand_from lake' -a "
                             "'%s'\n",
                             repo_words, lake_words);
    return code;
}

cb_code cb_completion(cb_shell shell, cb_buf *out, cb_error *err)
{
    switch (shell) {
    case CB_SHELL_BASH:
        return bash(out, err);
    case CB_SHELL_ZSH:
        return zsh(out, err);
    case CB_SHELL_FISH:
        return fish(out, err);
    case CB_SHELL_END:
        break;
    }
    return cb_fail(err, CB_USAGE, "there is no completion for this shell");
}
