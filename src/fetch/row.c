#include "fetch/row.h"
#include "base/json_scan.h"
#include "base/memory.h"
#include "fetch/url.h"
#include <stdlib.h>
#include <string.h>

/* ---- which fields ---- */

void row_form_close(row_form *f) {
    for (int i = 0; i < f->field_count; i++) free(f->fields[i]);
    *f = (row_form){0};
}

status row_form_open(row_form *f, const char *fields) {
    *f = (row_form){0};
    for (const char *next = fields; next; next = strchr(next, ',') ? strchr(next, ',') + 1 : NULL) {
        const size_t length = strcspn(next, ",");
        if (length == 0) return fail_usage("expected names of fields with commas, found `%.80s`", fields);
        if (f->field_count == ROW_MAX_FIELDS) return fail_usage("expected at most %d fields", ROW_MAX_FIELDS);
        f->fields[f->field_count++] = xasprintf("%.*s", (int)length, next);
    }
    return STATUS_OK;
}

char *row_form_fields(const row_form *f) {
    char *text = xstrdup("");
    for (int i = 0; i < f->field_count; i++) {
        char *longer = xasprintf("%s%s%s", text, i ? "," : "", f->fields[i]);
        free(text);
        text = longer;
    }
    return text;
}

/* ---- members of an object, where they lie ---- */

typedef struct members {
    json_scan scan;
    char *key; /* room for the longest */
    bool begun;
} members;

/* The next member: its key, and the value's bytes; false at the end, with *valid whether that was an end. */
static bool next_member(members *m, json_scan *value, bool *valid) {
    *valid = true;
    if (m->begun ? json_scan_take(&m->scan, '}') : json_scan_take(&m->scan, '{') && json_scan_take(&m->scan, '}')) {
        return false;
    }
    *valid = (!m->begun || json_scan_take(&m->scan, ',')) && json_scan_string(&m->scan, m->key) &&
             json_scan_take(&m->scan, ':');
    m->begun = true;
    if (!*valid) return false;
    json_scan_peek(&m->scan);
    value->next = m->scan.next;
    *valid = json_scan_skip(&m->scan);
    value->end = m->scan.next;
    return *valid;
}

static status not_an_object(const char *where) {
    return fail("%s: expected a JSON object, found something else", where);
}

static bool find(const char *row, size_t bytes, const char *key, char *room, json_scan *value) {
    members m = {.scan = {row, row + bytes}, .key = room};
    bool valid;
    while (next_member(&m, value, &valid))
        if (strcmp(m.key, key) == 0) return true;
    return false;
}

status row_choose(row_form *f, const char *row, size_t bytes, const char *where) {
    static const char *const usual[] = {"text", "messages", "conversations", "conversation", "content"};
    members m = {.scan = {row, row + bytes}, .key = xmalloc(bytes + 1)};
    json_scan value;
    bool valid;
    int texts = 0;
    size_t rank = sizeof usual / sizeof *usual;
    char *all = xstrdup(""), *only = NULL;
    while (next_member(&m, &value, &valid)) {
        for (size_t i = 0; i < rank; i++)
            if (strcmp(m.key, usual[i]) == 0) rank = i;
        if (*value.next == '"' && texts++ == 0) only = xstrdup(m.key);
        char *shown = text_shown(m.key, 40), *longer = xasprintf("%.500s%s%s", all, *all ? ", " : "", shown);
        free(all);
        free(shown);
        all = longer;
    }
    const char *chosen = rank < sizeof usual / sizeof *usual ? usual[rank] : texts == 1 ? only : NULL;
    status s = !valid   ? not_an_object(where)
               : chosen ? STATUS_OK
                        : fail_usage("%s: which field is the text? Choose with --field among %s", where, all);
    if (s == STATUS_OK && strchr(chosen, ',')) /* --field and the state of a download take names apart there */
        s = fail_usage("%s: expected a field without a comma in its name, found %.60s", where, chosen);
    if (s == STATUS_OK) f->fields[f->field_count++] = xstrdup(chosen);
    free(only);
    free(all);
    free(m.key);
    return s;
}

/* ---- writing ---- */

void row_put_string(FILE *out, const char *text) {
    fputc('"', out);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if (*c == '\n')
            fputs("\\n", out);
        else if (*c < ' ')
            fprintf(out, "\\u%04x", *c);
        else
            fputc(*c, out);
    fputc('"', out);
}

typedef struct line {
    turn *turns;
    size_t turn_count;
    char *text;
    size_t text_bytes;
    FILE *stream;     /* into text */
    char *room;       /* for any string of the row */
    int conversation; /* number of the field that is one; -1 */
} line;

static char *string_of(line *l, json_scan value) {
    return *value.next == '"' && json_scan_string(&value, l->room) ? xstrdup(l->room) : NULL;
}

/* ShareGPT's names of roles */
static const char *plain_role(const char *role) {
    if (strcmp(role, "human") == 0 || strcmp(role, "prompter") == 0) return "user";
    return strcmp(role, "gpt") == 0 || strcmp(role, "bot") == 0 ? "assistant" : role;
}

static char *first_of(line *l, json_scan object, const char *a, const char *b) {
    json_scan value;
    const size_t bytes = (size_t)(object.end - object.next);
    if (find(object.next, bytes, a, l->room, &value) || find(object.next, bytes, b, l->room, &value)) {
        return string_of(l, value);
    }
    return NULL;
}

static void forget_turns(line *l) {
    for (size_t i = 0; i < l->turn_count; i++) {
        free(l->turns[i].role);
        free(l->turns[i].content);
    }
    free(l->turns);
    l->turns = NULL;
    l->turn_count = 0;
}

/* Whether the value is a conversation, whose turns l then has. */
static bool take_turns(line *l, json_scan value) {
    if (!json_scan_take(&value, '[') || json_scan_peek(&value) != '{') return false;
    do {
        json_scan object = {.next = value.next};
        if (!json_scan_skip(&value)) break; /* does not happen: it was passed over before */
        object.end = value.next;
        char *role = first_of(l, object, "role", "from"), *content = first_of(l, object, "content", "value");
        if (!role || !content || l->turn_count == ROW_MAX_TURNS) {
            free(role);
            free(content);
            forget_turns(l);
            return false;
        }
        if ((l->turn_count & (l->turn_count - 1)) == 0) {
            l->turns = xrealloc(l->turns, (l->turn_count ? 2 * l->turn_count : 1) * sizeof *l->turns);
        }
        l->turns[l->turn_count++] = (turn){xstrdup(plain_role(role)), content};
        free(role);
    } while (json_scan_take(&value, ',') && json_scan_peek(&value) == '{');
    return true;
}

static status render_turns(const row_form *f, line *l) {
    if (!f->render) {
        for (size_t i = 0; i < l->turn_count; i++)
            fprintf(l->stream, "%s: %s\n", l->turns[i].role, l->turns[i].content);
        return STATUS_OK;
    }
    char *text = NULL;
    status s = f->render(f->render_context, l->turns, l->turn_count, &text);
    if (s == STATUS_OK) fputs(text, l->stream);
    free(text);
    return s;
}

static status gather(const row_form *f, line *l, const char *row, size_t bytes, const char *where) {
    json_scan whole = {row, row + bytes}, value;
    if (json_scan_peek(&whole) != '{' || !json_scan_skip(&whole) || !json_scan_at_end(&whole))
        return not_an_object(where);
    for (int i = 0; i < f->field_count; i++) {
        if (!find(row, bytes, f->fields[i], l->room, &value)) {
            return fail("%s: expected a field %s, found none of that name", where, f->fields[i]);
        }
        if (l->conversation < 0 && take_turns(l, value)) {
            l->conversation = i;
            TRY(render_turns(f, l));
            continue;
        }
        char *text = string_of(l, value);
        fflush(l->stream);
        if (text && *text) fprintf(l->stream, "%s%s", l->text_bytes ? "\n" : "", text);
        free(text);
    }
    return STATUS_OK;
}

static void put_line(const row_form *f, line *l, const char *row, size_t bytes, FILE *out) {
    json_scan value;
    fputc('{', out);
    if (l->conversation >= 0) {
        fputs("\"messages\": [", out);
        for (size_t i = 0; i < l->turn_count; i++) {
            fputs(i ? ", {\"role\": " : "{\"role\": ", out);
            row_put_string(out, l->turns[i].role);
            fputs(", \"content\": ", out);
            row_put_string(out, l->turns[i].content);
            fputc('}', out);
        }
        fputs("], ", out);
    }
    fputs("\"text\": ", out);
    row_put_string(out, l->text);
    for (int i = 0; f->field_count > 1 && i < f->field_count; i++) {
        const char *name = f->fields[i];
        if (i == l->conversation || strcmp(name, "text") == 0 || strcmp(name, "messages") == 0) continue;
        find(row, bytes, name, l->room, &value);
        fputs(", ", out);
        row_put_string(out, name);
        fputs(": ", out);
        for (const char *c = value.next; c < value.end; c++) fputc(*c == '\n' || *c == '\r' ? ' ' : *c, out);
    }
    fputs("}\n", out);
}

status row_write(const row_form *f, const char *row, size_t bytes, const char *where, FILE *out, bool *empty) {
    line l = {.room = xmalloc(bytes + 1), .conversation = -1};
    l.stream = open_memstream(&l.text, &l.text_bytes);
    if (!l.stream) memory_out(1);
    status s = gather(f, &l, row, bytes, where);
    fclose(l.stream);
    *empty = s == STATUS_OK && l.text[strspn(l.text, " \t\r\n")] == '\0';
    if (s == STATUS_OK && !*empty) put_line(f, &l, row, bytes, out);
    forget_turns(&l);
    free(l.text);
    free(l.room);
    return s;
}
