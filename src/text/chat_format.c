/* Recognising templates. */
#include "text/chat_format.h"

#include "base/memory.h"

/* ---- looking for what a template writes ---- */

typedef struct wanted {
    bool sets;                            /* in {% set content = … %} instead of {{ … }} */
    const char *says, *says_not;          /* in a literal; NULL: anything */
    bool has[TERM_KINDS], no[TERM_KINDS]; /* terms */
} wanted;

static bool fits(const wanted *w, const chat_sum *sum, bool sets) {
    if (w->sets != sets) return false;
    if (w->says && !chat_sum_says(sum, w->says)) return false;
    if (w->says_not && chat_sum_says(sum, w->says_not)) return false;
    for (int kind = 0; kind < TERM_KINDS; kind++)
        if ((w->has[kind] && !chat_sum_has(sum, (chat_term_kind)kind)) ||
            (w->no[kind] && chat_sum_has(sum, (chat_term_kind)kind)))
            return false;
    return true;
}

/* The first sum like that; it is the caller's. */
static bool find(const char *template, wanted w, chat_sum *found) {
    bool sets;
    while (chat_next_sum(&template, found, &sets)) {
        if (fits(&w, found, sets)) return true;
        chat_sum_free(found);
    }
    *found = (chat_sum){0};
    return false;
}

static bool has(const char *template, const char *part) {
    return strstr(template, part) != NULL;
}

static bool writes_bos_alone(const char *template) {
    chat_sum sum;
    bool sets;
    while (chat_next_sum(&template, &sum, &sets)) {
        bool is = !sets && chat_sum_is(&sum, TERM_BOS);
        chat_sum_free(&sum);
        if (is) return true;
    }
    return false;
}

#define ALL_BUT_LITERAL                                                                                                \
    { [TERM_ROLE] = true, [TERM_CONTENT] = true, [TERM_SYSTEM] = true, [TERM_BOS] = true, [TERM_EOS] = true }

/* ---- the families ---- */

static bool read_chatml(const char *t, chat_format *f) {
    static const char *const others[] = {"<|im_sep|>", "<end_of_utterance>", "<|im_middle|>", "reasoning_mode",
                                         "if not enable_thinking"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (has(t, others[i])) return false;
    f->drops_thoughts = has(t, "split('</think>')[-1]");
    f->strips_answers = f->drops_thoughts && !has(t, "'</think>' in");
    f->keeps_last_answer = f->drops_thoughts && has(t, "if not loop.last %}");
    f->keeps_last_thoughts = has(t, "last_query_index");
    if (has(t, "</think>") && !f->drops_thoughts) return false;
    if (f->drops_thoughts && !has(t, ".lstrip('\\n')")) return false;
    find(t, (wanted){.says = "<|im_start|>system\n", .no = ALL_BUT_LITERAL}, &f->default_system);
    if (!chat_sum_says(&f->default_system, "<|im_end|>")) { /* the beginning of one that tools go into */
        chat_sum_free(&f->default_system);
        find(t, (wanted){.says = "<|im_end|>", .says_not = "<tool", .no = ALL_BUT_LITERAL}, &f->default_system);
        if (!chat_sum_says(&f->default_system, "<|im_start|>system\n")) chat_sum_free(&f->default_system);
    }
    return find(t, (wanted){.says = "<|im_start|>", .has = {[TERM_ROLE] = true, [TERM_CONTENT] = true}}, &f->user) &&
           find(t, (wanted){.says = "<|im_start|>assistant", .no = ALL_BUT_LITERAL}, &f->prompt);
}

static char *date_in(const char *template) {
    static const char key[] = "date_string = \"";
    const char *begin = strstr(template, key), *end = begin ? strchr(begin + sizeof key - 1, '"') : NULL;
    if (has(template, "strftime_now") || !end) return NULL;
    begin += sizeof key - 1;
    return xasprintf("%.*s", (int)(end - begin), begin);
}

static bool read_llama3(const char *t, chat_format *f) {
    const bool terms[TERM_KINDS] = {[TERM_ROLE] = true, [TERM_CONTENT] = true};
    wanted message = {.says = "<|start_header_id|>"}, bos = {.sets = true, .has = {[TERM_BOS] = true}};
    chat_sum first;
    memcpy(message.has, terms, sizeof terms);
    bool found = find(t, message, &f->user);
    message.sets = true;
    if (!found) found = find(t, message, &f->user);
    if (find(t, bos, &first)) f->begins_with_bos = true;
    chat_sum_free(&first);
    f->says_dates = has(t, "Cutting Knowledge Date: December 2023");
    if (f->says_dates) f->date = date_in(t);
    f->always_prompts = !has(t, "add_generation_prompt");
    return found && find(t, (wanted){.says = "<|start_header_id|>assistant", .no = ALL_BUT_LITERAL}, &f->prompt);
}

static bool read_zephyr(const char *t, chat_format *f) {
    const wanted content = {.has = {[TERM_CONTENT] = true, [TERM_EOS] = true}};
    wanted system = content, user = content, assistant = content;
    system.says = "<|system|>";
    user.says = "<|user|>";
    assistant.says = "<|assistant|>";
    find(t, system, &f->system);
    return find(t, user, &f->user) && find(t, assistant, &f->assistant) &&
           find(t, (wanted){.says = "<|assistant|>", .no = ALL_BUT_LITERAL}, &f->prompt);
}

static bool read_inst(const char *t, chat_format *f) {
    if (has(t, "system_message = '") || has(t, "system_message = \"")) return false; /* a system message of its own */
    f->alternates = has(t, "index0 % 2") || has(t, "index % 2");
    f->in_last = has(t, "loop.last and system_message");
    f->system_is_own = find(t, (wanted){.says = "[SYSTEM_PROMPT]", .has = {[TERM_CONTENT] = true}}, &f->system);
    const wanted both = {.says = "[/INST]", .has = {[TERM_CONTENT] = true, [TERM_SYSTEM] = true}};
    if (!f->system_is_own && !find(t, both, &f->with_system))
        f->wrapped =
            find(t, (wanted){.sets = true, .says = "<<SYS>>", .has = {[TERM_CONTENT] = true, [TERM_SYSTEM] = true}},
                 &f->with_system);
    if (has(t, "system_message") && f->with_system.count == 0) return false;
    return find(t, (wanted){.says = "[/INST]", .has = {[TERM_CONTENT] = true}, .no = {[TERM_SYSTEM] = true}},
                &f->user) &&
           find(t, (wanted){.says_not = "[INST]", .has = {[TERM_CONTENT] = true, [TERM_EOS] = true}}, &f->assistant);
}

/* ---- the whole ---- */

static void clear(chat_format *f) {
    chat_sum *sums[] = {&f->system, &f->user, &f->assistant, &f->prompt, &f->default_system, &f->with_system};
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) chat_sum_free(sums[i]);
    free(f->date);
    *f = (chat_format){.family = CHAT_NONE};
}

chat_format *chat_format_create(const char *template) {
    static const struct {
        const char *mark;
        chat_family family;
        bool (*read)(const char *template, chat_format *f);
    } families[] = {{"<|im_start|>", CHAT_CHATML, read_chatml},
                    {"<|start_header_id|>", CHAT_LLAMA3, read_llama3},
                    {"[INST]", CHAT_INST, read_inst},
                    {"<|user|>", CHAT_ZEPHYR, read_zephyr}};
    chat_format *f = xcalloc(1, sizeof *f);
    for (size_t i = 0; template && i < sizeof families / sizeof *families; i++) {
        if (!has(template, families[i].mark)) continue;
        f->family = families[i].family;
        f->begins_with_bos = writes_bos_alone(template);
        if (!families[i].read(template, f)) clear(f);
        break;
    }
    return f;
}

void chat_format_free(chat_format *f) {
    if (!f) return;
    clear(f);
    free(f);
}

chat_family chat_format_family(const chat_format *f) {
    return f->family;
}

const char *chat_family_name(chat_family family) {
    static const char *const names[] = {"none", "ChatML", "Llama 3", "Zephyr", "[INST]"};
    return names[family];
}
