#include "cli/chat_routing.h"

#include "base/memory.h"
#include "base/progress.h"
#include "generate/drafts.h"
#include "nn/expert_names.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROWS = 1 + DRAFT_MOST };

struct chat_routing {
    pass *p;
    int layer;                   /* that is shown; ROUTING_… */
    int first_layer, first_pass; /* where the path's first router is: a new token begins; −1: not known yet */
    double *gates;   /* [ROWS, E] of the last tokens that were read, the last one first, over the layers that count */
    int64_t *tokens; /* [E] of the answer, whose strongest expert it was */
};

static int experts_of(const chat_routing *r) {
    return pass_model(r->p)->config.moe.experts;
}

static void observe(void *context, int layer, int pass, const moe_choice *choice) {
    chat_routing *r = context;
    if (r->first_layer < 0) r->first_layer = layer, r->first_pass = pass;
    if (layer == r->first_layer && pass == r->first_pass)
        memset(r->gates, 0, ROWS * (size_t)choice->experts * sizeof *r->gates);
    if (r->layer >= 0 && r->layer != layer) return;
    for (int64_t row = 0; row < ROWS && row < choice->tokens; row++) {
        const int64_t at = (choice->tokens - 1 - row) * choice->k;
        for (int i = 0; i < choice->k; i++)
            if (choice->chosen[at + i] >= 0) /* fewer may be allowed than are asked */
                r->gates[row * choice->experts + choice->chosen[at + i]] += choice->gates[at + i];
    }
}

chat_routing *chat_routing_create(pass *p) {
    chat_routing *r = xcalloc(1, sizeof *r);
    *r = (chat_routing){.p = p, .layer = ROUTING_OFF, .first_layer = -1};
    r->gates = xcalloc(ROWS * (size_t)experts_of(r), sizeof *r->gates);
    r->tokens = xcalloc((size_t)experts_of(r), sizeof *r->tokens);
    pass_watch_routing(p, observe, r);
    return r;
}

void chat_routing_free(chat_routing *r) {
    if (!r) return;
    free(r->gates);
    free(r->tokens);
    free(r);
}

void chat_routing_show(chat_routing *r, int layer) {
    r->layer = layer;
}

int chat_routing_shown(const chat_routing *r) {
    return r ? r->layer : ROUTING_OFF;
}

static int strongest(const chat_routing *r, int64_t row) {
    const double *gates = r->gates + row * experts_of(r);
    int best = 0;
    for (int e = 1; e < experts_of(r); e++)
        if (gates[e] > gates[best]) best = e;
    return best;
}

/* Okabe and Ito's colours as the 256 colours of terminals come near them, dark enough for white and light enough for black; plain,
 * underlined, italic or bold beside that, so that experts differ without colour and 32 of them differ at all. */
static void begin_color(FILE *out, int expert) {
    static const int colors[] = {32, 172, 36, 169, 166, 74, 142, 245};
    static const char *const styles[] = {"", ";4", ";3", ";1"};
    fprintf(out, "\033[38;5;%d%sm", colors[expert % 8], styles[(expert + expert / 8) % 4]);
}

static void end_color(FILE *out) {
    fputs("\033[0m", out);
}

bool chat_routing_print(chat_routing *r, int64_t rows_behind, const char *text, size_t bytes) {
    const bool shown = chat_routing_shown(r) != ROUTING_OFF;
    const bool colored = shown && color_enabled(STDOUT_FILENO);
    const int expert = shown ? strongest(r, rows_behind) : 0;
    errno = 0;
    if (shown) r->tokens[expert]++;
    if (colored) begin_color(stdout, expert);
    const bool written = fwrite(text, 1, bytes, stdout) == bytes;
    if (colored) end_color(stdout);
    return written && fflush(stdout) == 0;
}

static void print_name(const chat_routing *r, int expert) {
    char name[EXPERT_NAME_BYTES];
    const bool colored = color_enabled(STDERR_FILENO);
    if (colored) begin_color(stderr, expert);
    fputs(expert_name(&pass_model(r->p)->config.moe, expert, name), stderr);
    if (colored) end_color(stderr);
}

void chat_routing_legend(const chat_routing *r) {
    if (chat_routing_shown(r) == ROUTING_OFF) return;
    fputs("experts: ", stderr);
    for (int e = 0; e < experts_of(r); e++) {
        if (e) fputs(", ", stderr);
        print_name(r, e);
    }
    if (r->layer >= 0)
        fprintf(stderr, "; a token's is the strongest one of layer %d\n", r->layer);
    else
        fputs("; a token's is the strongest one, its gates summed over all layers\n", stderr);
}

void chat_routing_shares(chat_routing *r) {
    if (chat_routing_shown(r) == ROUTING_OFF) return;
    int64_t all = 0;
    for (int e = 0; e < experts_of(r); e++) all += r->tokens[e];
    fputs("tokens by expert: ", stderr);
    bool any = false;
    for (int e = 0; e < experts_of(r); e++) {
        if (r->tokens[e] == 0) continue;
        if (any) fputs(", ", stderr);
        print_name(r, e);
        fprintf(stderr, " %.0f %%", 100 * (double)r->tokens[e] / (double)all);
        any = true;
    }
    fputs(any ? "\n" : "none\n", stderr);
    memset(r->tokens, 0, (size_t)experts_of(r) * sizeof *r->tokens);
}
