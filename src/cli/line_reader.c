#include "cli/line_reader.h"

#include "base/file.h"
#include "text/text_buffer.h"
#include <unistd.h>

enum { MOST_BYTES = 1 << 20 };

/* ---- lines as they come ---- */

static status read_plain(text_buffer *line, line_kind *kind) {
    int letter;
    text_reserve(line, 0);
    line->bytes = 0;
    while ((letter = getchar()) != EOF && letter != '\n') {
        if (letter == '\0') return fail("stdin: expected text, found a NUL byte");
        if (line->bytes == MOST_BYTES)
            return fail("stdin: expected a line of at most %d bytes, found more", MOST_BYTES);
        text_append(line, (const char[]){(char)letter}, 1);
    }
    if (ferror(stdin)) return fail("stdin: cannot read: %m");
    if (line->bytes > 0 && line->text[line->bytes - 1] == '\r') line->bytes--;
    line->text[line->bytes] = '\0';
    *kind = letter == EOF && line->bytes == 0 ? LINE_END : LINE_TEXT;
    return STATUS_OK;
}

#ifdef MOEC_LIBEDIT
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <termios.h>
#include <wchar.h>

enum { LINES_KEPT = 1000 };

struct line_reader {
    bool terminal;
    EditLine *editor;     /* NULL: lines as they come */
    struct termios usual; /* the terminal's settings before there was an editor */
    History *history;
    char *path; /* the history's; NULL: it is not kept */
    const char *prompt;
    bool dropped;
    text_buffer line;
};

static line_reader *owner(EditLine *editor) {
    line_reader *r = NULL;
    el_get(editor, EL_CLIENTDATA, &r);
    return r;
}

static char *prompt_of(EditLine *editor) {
    return (char *)owner(editor)->prompt;
}

static unsigned char drop_line(EditLine *editor, wint_t key) {
    (void)key;
    owner(editor)->dropped = true;
    return CC_NEWLINE;
}

static unsigned char suspend(EditLine *editor, wint_t key) {
    (void)key;
    el_set(editor, EL_PREP_TERM, 0);
    raise(SIGTSTP);
    el_set(editor, EL_PREP_TERM, 1);
    return CC_REDISPLAY;
}

/* libedit reads characters as the locale has them; without one they are still UTF-8. */
static void choose_locale(void) {
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0) setlocale(LC_CTYPE, "C.UTF-8");
}

static void open_history(line_reader *r, const char *name) {
    HistEvent event;
    char *folder = state_folder();
    r->history = history_init();
    history(r->history, &event, H_SETSIZE, LINES_KEPT);
    history(r->history, &event, H_SETUNIQUE, 1);
    if (folder_create(folder) == STATUS_OK) {
        r->path = path_join(folder, name);
        history(r->history, &event, H_LOAD, r->path);
    }
    free(folder);
}

/* Whole or not at all, like every file; that it cannot be kept is no reason to stop a conversation. */
static void keep_history(line_reader *r, const char *line) {
    HistEvent event;
    history(r->history, &event, H_ENTER, line);
    if (!r->path) return;
    char *temporary = xasprintf("%s.tmp-%ld", r->path, (long)getpid());
    if (history(r->history, &event, H_SAVE, temporary) < 0 || rename(temporary, r->path) != 0) unlink(temporary);
    free(temporary);
}

static void open_editor(line_reader *r, const char *history_name) {
    choose_locale();
    if (tcgetattr(STDIN_FILENO, &r->usual) != 0) return;
    r->editor = el_init("moec", stdin, stderr, stderr);
    if (!r->editor) return;
    open_history(r, history_name);
    el_set(r->editor, EL_CLIENTDATA, r);
    el_set(r->editor, EL_PROMPT, prompt_of);
    el_set(r->editor, EL_EDITOR, "emacs");
    el_set(r->editor, EL_HIST, history, r->history);
    el_set(r->editor, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(r->editor, NULL); /* the user's ~/.editrc */
    /* While a line is edited, Ctrl-C is a key like any other; during an answer it is a signal. */
    el_set(r->editor, EL_SETTY, "-d", "-isig", NULL);
    el_wset(r->editor, EL_ADDFN, L"moec-drop-line", L"Begin a new line", drop_line); /* el_set would leak the names */
    el_set(r->editor, EL_BIND, "^C", "moec-drop-line", NULL);
    el_wset(r->editor, EL_ADDFN, L"moec-suspend", L"Back to the shell, until fg", suspend);
    el_set(r->editor, EL_BIND, "^Z", "moec-suspend", NULL);
}

line_reader *line_reader_open(const char *history) {
    line_reader *r = xcalloc(1, sizeof *r);
    r->terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
    if (r->terminal) open_editor(r, history);
    return r;
}

/* libedit keeps what is typed ahead of its prompts (TCSADRAIN; but Ctrl-D, which the terminal itself takes between prompts), and when it
 * ends it throws away what is typed for the shell (TCSAFLUSH): an editor that is off leaves the terminal alone. */
static void close_editor(line_reader *r) {
    el_set(r->editor, EL_EDITMODE, 0);
    el_end(r->editor);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &r->usual);
}

void line_reader_close(line_reader *r) {
    if (r->editor) close_editor(r);
    if (r->history) history_end(r->history);
    free(r->path);
    text_free(&r->line);
    free(r);
}

static status read_edited(line_reader *r, line_kind *kind) {
    int bytes = 0;
    r->dropped = false;
    const char *line = el_gets(r->editor, &bytes);
    r->line.bytes = 0;
    text_reserve(&r->line, 0);
    if (line && bytes > 0) text_append(&r->line, line, (size_t)bytes - (line[bytes - 1] == '\n'));
    r->line.text[r->line.bytes] = '\0';
    *kind = r->dropped ? LINE_DROPPED : line && bytes > 0 ? LINE_TEXT : LINE_END;
    if (*kind != LINE_TEXT) fputc('\n', stderr);
    if (*kind == LINE_TEXT && r->line.bytes > 0) keep_history(r, r->line.text);
    return STATUS_OK;
}

static status read_line(line_reader *r, line_kind *kind) {
    return r->editor ? read_edited(r, kind) : read_plain(&r->line, kind);
}
#else
struct line_reader {
    bool terminal;
    const char *prompt;
    text_buffer line;
};

line_reader *line_reader_open(const char *history) {
    (void)history;
    line_reader *r = xcalloc(1, sizeof *r);
    r->terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
    return r;
}

void line_reader_close(line_reader *r) {
    text_free(&r->line);
    free(r);
}

static status read_line(line_reader *r, line_kind *kind) {
    if (r->terminal) fputs(r->prompt, stderr);
    return read_plain(&r->line, kind);
}
#endif

bool line_reader_is_terminal(const line_reader *r) {
    return r->terminal;
}

status line_reader_next(line_reader *r, const char *prompt, line_kind *kind, const char **line) {
    r->prompt = prompt;
    TRY(read_line(r, kind));
    *line = r->line.text;
    return STATUS_OK;
}
