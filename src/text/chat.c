/* Writing conversations. */
#include "text/chat_format.h"

#include <time.h>

typedef struct rendering {
    const chat_format *f;
    const tokenizer *t;
    const chat_message *messages;
    int count;
    text_buffer out;
} rendering;

static void append(rendering *r, const chat_sum *sum, const char *role, const char *content, const char *system) {
    const char *values[TERM_KINDS] = {[TERM_ROLE] = role,
                                      [TERM_CONTENT] = content,
                                      [TERM_SYSTEM] = system,
                                      [TERM_BOS] = tokenizer_bos_text(r->t),
                                      [TERM_EOS] = tokenizer_eos_text(r->t)};
    chat_sum_append(sum, values, &r->out);
}

static bool is_role(const chat_message *m, const char *role) {
    return strcmp(m->role, role) == 0;
}

static bool begins_with_system(const rendering *r) {
    return r->count > 0 && is_role(&r->messages[0], "system");
}

/* ---- ChatML ---- */

static const char *skip_newlines(const char *text) {
    return text + strspn(text, "\n");
}

/* What stands behind the last </think>, or the text itself. */
static const char *answer_of(const chat_format *f, const char *content) {
    const char *answer = content, *mark;
    while ((mark = strstr(answer, "</think>"))) answer = mark + strlen("</think>");
    return answer == content && !f->strips_answers ? content : skip_newlines(answer);
}

/* What stands between the last <think> and the first </think>, without newlines at its ends. */
static void append_thoughts(const char *content, text_buffer *out) {
    const char *end = strstr(content, "</think>"), *begin = content, *mark;
    if (!end) return;
    while ((mark = strstr(begin, "<think>")) && mark < end) begin = mark + strlen("<think>");
    while (end > begin && end[-1] == '\n') end--;
    while (begin < end && *begin == '\n') begin++;
    text_append(out, begin, (size_t)(end - begin));
}

static int last_question(const rendering *r) {
    int last = r->count - 1;
    while (last > 0 && !is_role(&r->messages[last], "user")) last--;
    return r->count > 0 && is_role(&r->messages[last], "user") ? last : r->count - 1;
}

/* An answer behind the last question of Qwen3's: with its thoughts, which the last message has even if they are empty. */
static void append_answer(rendering *r, int index) {
    const chat_message *m = &r->messages[index];
    const char *answer = answer_of(r->f, m->content);
    text_buffer whole = {0}, thoughts = {0};
    append_thoughts(m->content, &thoughts);
    if (index > last_question(r) && (index == r->count - 1 || thoughts.bytes > 0)) {
        text_append_string(&whole, "<think>\n");
        text_append(&whole, thoughts.text ? thoughts.text : "", thoughts.bytes);
        text_append_string(&whole, "\n</think>\n\n");
        answer = skip_newlines(answer);
    }
    text_append_string(&whole, answer);
    append(r, &r->f->user, m->role, whole.text, NULL);
    text_free(&whole);
    text_free(&thoughts);
}

static status render_chatml(rendering *r) {
    if (!begins_with_system(r)) append(r, &r->f->default_system, NULL, NULL, NULL);
    for (int i = 0; i < r->count; i++) {
        const chat_message *m = &r->messages[i];
        if (!is_role(m, "assistant") || !r->f->drops_thoughts || (r->f->keeps_last_answer && i == r->count - 1))
            append(r, &r->f->user, m->role, m->content, NULL);
        else if (r->f->keeps_last_thoughts)
            append_answer(r, i);
        else
            append(r, &r->f->user, m->role, answer_of(r->f, m->content), NULL);
    }
    return STATUS_OK;
}

/* ---- Llama 3 ---- */

static void append_dates(rendering *r, const char *system) {
    char today[32];
    time_t now = time(NULL);
    struct tm local;
    strftime(today, sizeof today, "%d %b %Y", localtime_r(&now, &local));
    text_append_string(&r->out, "<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
                                "Today Date: ");
    text_append_string(&r->out, r->f->date ? r->f->date : today);
    text_append_string(&r->out, "\n\n");
    chat_append_trimmed(system, &r->out);
    text_append_string(&r->out, "<|eot_id|>");
}

static status render_llama3(rendering *r) {
    int first = 0;
    if (r->f->says_dates) {
        first = begins_with_system(r);
        append_dates(r, first ? r->messages[0].content : "");
    }
    for (int i = first; i < r->count; i++) append(r, &r->f->user, r->messages[i].role, r->messages[i].content, NULL);
    return STATUS_OK;
}

/* ---- Zephyr ---- */

static status render_zephyr(rendering *r) {
    for (int i = 0; i < r->count; i++) {
        const chat_message *m = &r->messages[i];
        const chat_sum *sum = is_role(m, "user")                               ? &r->f->user
                              : is_role(m, "assistant")                        ? &r->f->assistant
                              : is_role(m, "system") && r->f->system.count > 0 ? &r->f->system
                                                                               : NULL;
        if (!sum) return fail("message %d: expected a role that the chat template knows, found %.40s", i + 1, m->role);
        append(r, sum, m->role, m->content, NULL);
    }
    return STATUS_OK;
}

/* ---- [INST] ---- */

static void append_user(rendering *r, const chat_message *m, const char *system) {
    if (!system) {
        append(r, &r->f->user, m->role, m->content, NULL);
    } else if (!r->f->wrapped) {
        append(r, &r->f->with_system, m->role, m->content, system);
    } else {
        rendering inner = {.f = r->f, .t = r->t};
        append(&inner, &r->f->with_system, m->role, m->content, system);
        append(r, &r->f->user, m->role, inner.out.text, NULL);
        text_free(&inner.out);
    }
}

static status check_turn(const rendering *r, int index, int turn) {
    const chat_message *m = &r->messages[index];
    bool user = is_role(m, "user");
    if (!user && !is_role(m, "assistant"))
        return fail("message %d: expected the role user or assistant%s, found %.40s", index + 1,
                    r->f->with_system.count > 0 ? ", behind a system message at the beginning" : "", m->role);
    if (r->f->alternates && user != (turn % 2 == 0))
        return fail("message %d: expected user and assistant by turns, beginning with user, found %.40s", index + 1,
                    m->role);
    return STATUS_OK;
}

static status render_inst(rendering *r) {
    int first = begins_with_system(r) && r->f->with_system.count > 0;
    const char *system = first ? r->messages[0].content : NULL;
    for (int i = first; i < r->count; i++) {
        const chat_message *m = &r->messages[i];
        if (r->f->system_is_own && is_role(m, "system")) {
            append(r, &r->f->system, m->role, m->content, NULL);
            continue;
        }
        TRY(check_turn(r, i, i - first));
        bool takes_system = r->f->in_last ? i == r->count - 1 : i == first;
        if (is_role(m, "user"))
            append_user(r, m, takes_system ? system : NULL);
        else
            append(r, &r->f->assistant, m->role, m->content, NULL);
    }
    return STATUS_OK;
}

/* ---- any ---- */

/* What templates trim and cut is text. */
static status check_messages(const chat_message *messages, int count) {
    for (int i = 0; i < count; i++) {
        const char *text = messages[i].content;
        const size_t valid = utf8_valid_prefix(text, strlen(text));
        if (text[valid])
            return fail("the message of role %s: expected UTF-8 text, found the byte 0x%02X at byte offset %zu",
                        messages[i].role, (unsigned char)text[valid], valid);
    }
    return STATUS_OK;
}

status chat_render(const chat_format *f, const tokenizer *t, const chat_message *messages, int count, bool generate,
                   char **text) {
    static status (*const renderers[])(rendering * r) = {[CHAT_CHATML] = render_chatml,
                                                         [CHAT_LLAMA3] = render_llama3,
                                                         [CHAT_ZEPHYR] = render_zephyr,
                                                         [CHAT_INST] = render_inst};
    if (f->family == CHAT_NONE)
        return fail("expected a chat template of ChatML, Llama 3, Zephyr or [INST] form, found %s",
                    tokenizer_chat_template(t) ? "another" : "none");
    TRY(check_messages(messages, count));
    rendering r = {.f = f, .t = t, .messages = messages, .count = count};
    text_append_string(&r.out, f->begins_with_bos ? tokenizer_bos_text(t) : "");
    status s = renderers[f->family](&r);
    if (s != STATUS_OK) {
        text_free(&r.out);
        return s;
    }
    if (generate || f->always_prompts) append(&r, &f->prompt, NULL, NULL, NULL);
    *text = r.out.text;
    return STATUS_OK;
}

status chat_encode(const chat_format *f, const tokenizer *t, const chat_message *messages, int count, bool generate,
                   int32_t **ids, size_t *id_count) {
    char *text;
    TRY(chat_render(f, t, messages, count, generate, &text));
    status s = tokenizer_encode_special(t, text, strlen(text), ids, id_count);
    free(text);
    if (s != STATUS_OK || !tokenizer_adds_bos(t) || (*id_count && (*ids)[0] == tokenizer_bos(t))) return s;
    *ids = xrealloc(*ids, (*id_count + 1) * sizeof **ids);
    memmove(*ids + 1, *ids, *id_count * sizeof **ids);
    (*ids)[0] = tokenizer_bos(t);
    ++*id_count;
    return STATUS_OK;
}
