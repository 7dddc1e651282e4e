#include "cli/speculate.h"

#include "cli/cli.h"
#include <inttypes.h>
#include <string.h>

void speculate_parse(int *argc, char **argv, speculation *s) {
    *s = (speculation){.asked = cli_option(argc, argv, "--speculate")};
    s->source.lookup = s->asked && strcmp(s->asked, "lookup") == 0;
}

/* The same ids must mean the same. */
static status check_tokenizer(const char *path, const tokenizer *own, const tokenizer *tok) {
    if (tokenizer_fingerprint(own) == tokenizer_fingerprint(tok)) return STATUS_OK;
    return fail_usage("--speculate %s: expected the tokenizer of the model that is run (%d tokens), found another (%d)",
                      path, tokenizer_vocab_size(tok), tokenizer_vocab_size(own));
}

status speculate_open(speculation *s, const run_form *form, const tokenizer *tok) {
    const kernels *k;
    tokenizer *own;
    if (!s->asked || s->source.lookup || strcmp(s->asked, "off") == 0) return STATUS_OK;
    TRY(fail_in(kind_expect("--speculate", s->asked, NULL, KINDS_OF_MODEL, NOUN_OF_MODEL),
                "--speculate: expected lookup, off or a model"));
    run_form small = *form; /* its activations may be of another type, which only --cache f32 minds */
    small.float_cache = false;
    TRY(run_form_open(&small, s->asked, &k));
    small.hot_experts = 0;
    TRY(run_form_load(&small, s->asked, k, "chosen", &s->source.small, &own, NULL));
    const status outcome = check_tokenizer(s->asked, own, tok);
    tokenizer_close(own);
    if (outcome != STATUS_OK) speculate_close(s);
    return outcome;
}

void speculate_close(speculation *s) {
    if (s->source.small) model_destroy(s->source.small);
    s->source.small = NULL;
}

void speculate_print(const speculation *s, draft_figures figures, FILE *out) {
    if (!draft_source_is(&s->source)) return;
    fprintf(out, ", %" PRId64 " of %" PRId64 " proposed tokens drawn", figures.accepted, figures.proposed);
}
