/*
 * init and repo: what a repository is, its store, its keys, and copies of it. The words behind
 * `repo` are read here: they are few, and each leads to one function of the library.
 */
#include "cli/verbs.h"

#include "base/ctx.h"
#include "cli/ask.h"
#include "cli/json.h"
#include "cli/render.h"
#include "cli/words.h"

#include <string.h>

static void free_repo(cb_repo_result **result)
{
    cb_repo_result_free(*result);
}

static void free_check(cb_repo_check_result **result)
{
    cb_repo_check_result_free(*result);
}

static void free_keys(cb_keys_result **result)
{
    cb_keys_result_free(*result);
}

static void free_sync(cb_sync_result **result)
{
    cb_sync_result_free(*result);
}

static const char *operand(const cb_door *door, size_t n)
{
    return n < door->config->line.operand_count ? door->config->line.operands[n] : NULL;
}

static cb_code too_many(const cb_door *door, size_t most, cb_error *err)
{
    if (door->config->line.operand_count <= most)
        return CB_OK;
    cb_fail(err, CB_USAGE, "repo: '%s' is one word too many", operand(door, most));
    cb_hint(err, "'canvasback help repo' shows what it takes.");
    return err->code;
}

/* ---- init --------------------------------------------------------------------------------- */

static bool has_passphrase(const cb_config *config)
{
    return config->values[CB_OPT_PASSPHRASE_FILE].text ||
           config->values[CB_OPT_PASSPHRASE_COMMAND].text || config->values[CB_OPT_PASSPHRASE].text;
}

/* Twice: a slip in what nobody sees would lock the repository for ever. */
static cb_code ask_new_passphrase(cb_door *door, cb_error *err)
{
    char again[CB_PASSPHRASE_MAX];
    bool is_same;

    if (!cb_ask_terminal("passphrase for the new repository", door->passphrase,
                         sizeof(door->passphrase)) ||
        !cb_ask_terminal("the same again", again, sizeof(again))) {
        explicit_bzero(door->passphrase, sizeof(door->passphrase));
        cb_fail(err, CB_USAGE, "an encrypted repository needs a passphrase, and none was given");
        cb_hint(err, "Use --passphrase-file, --passphrase-command or CANVASBACK_PASSPHRASE where "
                     "there is no terminal.");
        return err->code;
    }
    is_same = strcmp(door->passphrase, again) == 0;
    explicit_bzero(again, sizeof(again));
    if (is_same)
        return CB_OK;
    explicit_bzero(door->passphrase, sizeof(door->passphrase));
    return cb_fail(err, CB_USAGE, "the two passphrases are not the same");
}

static cb_code answer_repo(cb_door *door, const cb_repo_result *result, cb_error *err)
{
    return door->json ? cb_json_repo(result, &door->object, err)
                      : cb_render_repo(result, &door->out, err);
}

cb_code cb_verb_init(cb_door *door, cb_error *err)
{
    CB_CLEANUP(free_repo) cb_repo_result *result = NULL;
    bool encrypt = cb_config_flag(door->config, CB_OPT_ENCRYPT);
    cb_code code = CB_OK;

    if (encrypt && !has_passphrase(door->config))
        code = ask_new_passphrase(door, err);
    if (code == CB_OK)
        code = cb_door_open(door, err);
    if (code == CB_OK)
        code = cb_init(door->ctx, encrypt, &result, err);
    return code == CB_OK ? answer_repo(door, result, err) : code;
}

/* ---- repo, repo check --------------------------------------------------------------------- */

static cb_code describe(cb_door *door, cb_error *err)
{
    CB_CLEANUP(free_repo) cb_repo_result *result = NULL;
    cb_code code = cb_door_open(door, err);

    if (code == CB_OK)
        code = cb_repo_info(door->ctx, &result, err);
    return code == CB_OK ? answer_repo(door, result, err) : code;
}

static cb_code check(cb_door *door, cb_error *err)
{
    CB_CLEANUP(free_check) cb_repo_check_result *result = NULL;
    cb_code code = too_many(door, 1, err);

    if (code == CB_OK)
        code = cb_door_open(door, err);
    if (code == CB_OK)
        code = cb_repo_check(door->ctx, &result, err);
    if (code != CB_OK)
        return code;
    return door->json ? cb_json_repo_check(result, &door->object, err)
                      : cb_render_repo_check(result, &door->out, err);
}

/* ---- repo key ----------------------------------------------------------------------------- */

static cb_code fill_add(const cb_door *door, cb_key_request *request, cb_error *err)
{
    const cb_value *values = door->config->values;
    const char *file = operand(door, 2);

    if (file && values[CB_OPT_OUTPUT].text)
        return cb_fail(err, CB_USAGE, "the key file is named twice: '%s' and --output", file);
    request->file = file ? file : values[CB_OPT_OUTPUT].text;
    if (request->write_only && !request->file) {
        cb_fail(err, CB_USAGE, "--write-only needs the name of the key file to make");
        cb_hint(err, "For example: canvasback repo key add --write-only db1.key");
    } else if (!request->write_only && request->file) {
        cb_fail(err, CB_USAGE, "'%s' is one word too many", request->file);
        cb_hint(err, "A key file is made with --write-only.");
    } else
        return CB_OK;
    return err->code;
}

/* What the options say, and that no option stands beside an action that has no use for it. */
static cb_code fill_key_request(const cb_door *door, cb_key_request *request, cb_error *err)
{
    static const cb_word actions[] = {{"list", CB_KEY_LIST},
                                      {"add", CB_KEY_ADD},
                                      {"remove", CB_KEY_REMOVE},
                                      {"change", CB_KEY_CHANGE}};
    const cb_value *values = door->config->values;
    const char *action_word = operand(door, 1) ? operand(door, 1) : "list";
    bool takes_passphrase;
    int action = CB_KEY_LIST;
    cb_code code;

    code = cb_word_choose("repo key", action_word, actions, CB_LENGTH(actions), &action, err);
    if (code == CB_OK)
        code = too_many(door, action == CB_KEY_ADD || action == CB_KEY_REMOVE ? 3 : 2, err);
    if (code != CB_OK)
        return code;
    *request = (cb_key_request){.action = (cb_key_action)action,
                                .label = values[CB_OPT_LABEL].text,
                                .write_only = cb_config_flag(door->config, CB_OPT_WRITE_ONLY),
                                .new_passphrase_file = values[CB_OPT_NEW_PASSPHRASE_FILE].text};
    if (!request->new_passphrase_file) /* a flag wins over the environment */
        request->new_passphrase = values[CB_OPT_NEW_PASSPHRASE].text;
    takes_passphrase = action == CB_KEY_CHANGE || (action == CB_KEY_ADD && !request->write_only);
    if (action != CB_KEY_ADD && (request->write_only || request->label))
        return cb_fail(err, CB_USAGE, "--write-only and --label go with key add only");
    if (!takes_passphrase && request->new_passphrase_file)
        return cb_fail(err, CB_USAGE, "repo key %s takes no new passphrase", action_word);
    if (action == CB_KEY_REMOVE)
        request->id = operand(door, 2);
    if (action == CB_KEY_REMOVE && !request->id) {
        cb_fail(err, CB_USAGE, "repo key remove needs the key's id");
        cb_hint(err, "'canvasback repo key list' shows them.");
        return err->code;
    }
    return action == CB_KEY_ADD ? fill_add(door, request, err) : CB_OK;
}

static cb_code manage_keys(cb_door *door, cb_error *err)
{
    CB_CLEANUP(free_keys) cb_keys_result *result = NULL;
    cb_key_request request = {.action = CB_KEY_LIST};
    cb_code code = fill_key_request(door, &request, err);

    if (code == CB_OK)
        code = cb_door_open(door, err);
    if (code == CB_OK)
        code = cb_repo_key(door->ctx, &request, &result, err);
    if (code != CB_OK)
        return code;
    if (request.file)
        cb_door_say(door, CB_EVENT_INFO,
                    "the key file '%s' is made: bring it to its host, and name it there with "
                    "--key-file",
                    request.file);
    return door->json ? cb_json_keys(result, &door->object, err)
                      : cb_render_keys(result, cb_now_us(door->ctx), &door->out, err);
}

/* ---- repo sync ---------------------------------------------------------------------------- */

static cb_code sync_repositories(cb_door *door, cb_error *err)
{
    CB_CLEANUP(free_sync) cb_sync_result *result = NULL;
    const cb_command_line *line = &door->config->line;
    cb_sync_request request = {
        .from = operand(door, 1),
        .to = operand(door, 2),
        .to_passphrase_file = door->config->values[CB_OPT_TO_PASSPHRASE_FILE].text,
        .to_key_file = door->config->values[CB_OPT_TO_KEY_FILE].text,
        .no_create = cb_config_flag(door->config, CB_OPT_NO_CREATE),
        .dry_run = cb_config_flag(door->config, CB_OPT_DRY_RUN),
        .allow_keys = cb_config_flag(door->config, CB_OPT_ALLOW_UNENCRYPTED_KEYS),
    };
    cb_code code;

    if (!request.to) {
        cb_fail(err, CB_USAGE, "repo sync needs FROM and TO");
        cb_hint(err, "Usage: canvasback repo sync FROM TO [NAME[@LABEL]...]");
        return err->code;
    }
    request.backups = line->operands + 3;
    request.backup_count = line->operand_count - 3;
    code = cb_door_open(door, err);
    if (code == CB_OK)
        code = cb_repo_sync(door->ctx, &request, &result, err);
    if (code != CB_OK)
        return code;
    if (result->damaged_count > 0) {
        cb_fail(&door->damage, CB_CORRUPT, "backups of '%s' are damaged and were left out",
                request.from);
        cb_hint(&door->damage, "'canvasback verify' says more; what is sound was copied.");
    }
    return door->json ? cb_json_sync(result, &door->object, err)
                      : cb_render_sync(result, request.dry_run, &door->out, err);
}

/* ---- all of it ---------------------------------------------------------------------------- */

enum { ABOUT_CHECK, ABOUT_KEY, ABOUT_SYNC };

/* Options of another of the three are a mistake, and not to be passed over. */
static cb_code refuse_strays(const cb_config *config, int about, cb_error *err)
{
    static const struct {
        cb_option_id id;
        int about;
        const char *where;
    } belongs[] = {
        {CB_OPT_WRITE_ONLY, ABOUT_KEY, "key add"},
        {CB_OPT_LABEL, ABOUT_KEY, "key add"},
        {CB_OPT_OUTPUT, ABOUT_KEY, "key add"},
        {CB_OPT_NEW_PASSPHRASE_FILE, ABOUT_KEY, "key"},
        {CB_OPT_DRY_RUN, ABOUT_SYNC, "sync"},
        {CB_OPT_NO_CREATE, ABOUT_SYNC, "sync"},
        {CB_OPT_TO_KEY_FILE, ABOUT_SYNC, "sync"},
        {CB_OPT_TO_PASSPHRASE_FILE, ABOUT_SYNC, "sync"},
        {CB_OPT_ALLOW_UNENCRYPTED_KEYS, ABOUT_SYNC, "sync"},
    };

    for (size_t i = 0; i < CB_LENGTH(belongs); i++)
        if (belongs[i].about != about && config->values[belongs[i].id].origin == CB_FROM_FLAG)
            return cb_fail(err, CB_USAGE, "--%s goes with repo %s only",
                           cb_options[belongs[i].id].name, belongs[i].where);
    return CB_OK;
}

cb_code cb_verb_repo(cb_door *door, cb_error *err)
{
    static const cb_word subjects[] = {
        {"check", ABOUT_CHECK}, {"key", ABOUT_KEY}, {"keys", ABOUT_KEY}, {"sync", ABOUT_SYNC}};
    bool is_check = cb_config_flag(door->config, CB_OPT_CHECK);
    int about = ABOUT_CHECK;
    cb_code code = CB_OK;

    if (operand(door, 0))
        code = cb_word_choose("repo", operand(door, 0), subjects, CB_LENGTH(subjects), &about, err);
    if (code == CB_OK)
        code = refuse_strays(door->config, about, err);
    if (code != CB_OK)
        return code;
    if (is_check && about != ABOUT_CHECK)
        return cb_fail(err, CB_USAGE, "--check goes with repo alone");
    if (about == ABOUT_KEY)
        return manage_keys(door, err);
    if (about == ABOUT_SYNC)
        return sync_repositories(door, err);
    return is_check || operand(door, 0) ? check(door, err) : describe(door, err);
}
