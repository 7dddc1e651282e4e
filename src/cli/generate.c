#include "generate/generate.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "store/artifact.h"
#include "store/open.h"
#include "text/corpus.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: moec generate MODEL [PROMPT] [options]\n"
    "\n"
    "Continues PROMPT with a model: an artifact (FILE.moec), a run folder or a checkpoint. Text "
    "goes to stdout as it is\n"
    "made, the speed to stderr. Of a run or a checkpoint it uses the live or the averaged weights, "
    "whichever the\n"
    "training found better when it ended (the averaged ones where it has not), and says which.\n"
    "\n"
    "  --tokens N        at most so many new tokens (256)\n"
    "  --temperature X   0: always the likeliest token (0.8)\n"
    "  --top-k N         only the N likeliest tokens (0: all)\n"
    "  --top-p X         only the likeliest tokens that together have probability X (0.95)\n"
    "  --seed N          the same seed gives the same text (1)\n"
    "  --live, --ema     the live weights, the averaged ones, whatever the training found\n"
    "  --device D, --dtype T   cpu; bf16 or f32 (by default the fastest)\n"
    "\n"
    "example: moec generate runs/demo/model.moec \"In the beginning\" --tokens 100\n";

/* *context, an int: errno of a write that failed. */
static bool print_text(void *context, const char *text, size_t bytes) {
    int *error = context;
    errno = 0;
    if (fwrite(text, 1, bytes, stdout) == bytes && fflush(stdout) == 0) return true;
    *error = errno;
    return false;
}

static status options(int *argc, char **argv, sampler *s, long long *tokens) {
    long long top_k = 0, seed = 1;
    double temperature = 0.8, top_p = 0.95;
    TRY(cli_integer("--tokens", cli_option(argc, argv, "--tokens"), 1, 1 << 20, tokens));
    TRY(cli_number("--temperature", cli_option(argc, argv, "--temperature"), 0, 100, &temperature));
    TRY(cli_integer("--top-k", cli_option(argc, argv, "--top-k"), 0, 1 << 20, &top_k));
    TRY(cli_number("--top-p", cli_option(argc, argv, "--top-p"), 0, 1, &top_p));
    TRY(cli_integer("--seed", cli_option(argc, argv, "--seed"), 0, INT64_MAX, &seed));
    *s = (sampler){
        .temperature = (float)temperature, .top_k = (int)top_k, .top_p = (float)top_p, .seed = (uint64_t)seed};
    return STATUS_OK;
}

static void say_weights(const checkpoint *saved, const char *which) {
    if (!saved) return;
    char *note = checkpoint_weights_note(saved, which);
    fprintf(stderr, "%s: %s\n", saved->path, note);
    free(note);
}

static status run(int argc, char **argv) {
    sampler s;
    long long tokens = 256;
    const kernels *k;
    model *m;
    pass *p = NULL;
    tokenizer *tok;
    generate_result result;
    checkpoint *saved;
    const char *which;
    TRY(cli_device(&argc, argv, NULL, &k));
    TRY(cli_weights(&argc, argv, &which));
    TRY(options(&argc, argv, &s, &tokens));
    TRY(cli_rest(argc, argv, 1, 2, "moec generate MODEL [PROMPT] [options]"));
    const char *prompt = argc > 2 ? argv[2] : "";
    size_t valid = utf8_valid_prefix(prompt, strlen(prompt));
    if (valid < strlen(prompt))
        return fail_usage("PROMPT: expected UTF-8 text, found the byte 0x%02X at byte offset %zu",
                          (unsigned char)prompt[valid], valid);
    TRY(cli_hold(&saved, argv[1], which));
    status outcome = open_model(saved ? saved->path : argv[1], k, which, MODEL_RUN, &m, &tok, NULL);
    if (outcome == STATUS_OK) say_weights(saved, which);
    checkpoint_close(saved);
    TRY(outcome);
    interrupt_catch();
    int error = 0;
    outcome = pass_create(&p, m);
    if (outcome == STATUS_OK && print_text(&error, prompt, strlen(prompt)))
        outcome = generate(p, tok, prompt, &s, tokens, print_text, &error, &result);
    if (!error) print_text(&error, "\n", 1);
    if (error) outcome = fail("stdout: cannot write: %s", strerror(error));
    if (outcome == STATUS_OK)
        fprintf(stderr, "%lld prompt tokens in %.2f s, %lld new tokens at %.1f tokens/s\n",
                (long long)result.prompt_tokens, result.prompt_seconds, (long long)result.new_tokens,
                result.seconds > 0 ? (double)result.new_tokens / result.seconds : 0);
    pass_destroy(p);
    model_destroy(m);
    tokenizer_close(tok);
    return outcome;
}

const command command_generate = {
    .name = "generate", .summary = "continue a prompt with an artifact or a checkpoint", .help = help, .run = run};
