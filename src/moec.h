/* moec as a library: open a model, continue text, score text, train.
 *
 *     moec_model *m = moec_open("model.moec");
 *     if (!m) fprintf(stderr, "%s\n", moec_error());
 *     moec_generate(m, "In the beginning", NULL, 100, print, NULL);
 *     moec_close(m);
 *
 * Link with -lmoec (pkg-config moec). Functions that return int give 0 for success, else one of the command's exit codes
 * (1 failed, 2 wrong key or option, 130 interrupted), and moec_error() says why in one line. A model is used by one thread
 * at a time. */
#ifndef MOEC_H
#define MOEC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MOEC_API __attribute__((visibility("default")))
#else
#define MOEC_API
#endif

typedef struct moec_model moec_model;

MOEC_API const char *moec_version(void); /* "0.1.0" */
MOEC_API const char *moec_isa(void);     /* the instruction set that is used: "amx", "avx512bf16", "avx512", "avx2" */
MOEC_API const char *moec_error(void);   /* of the last failure in this thread */

/* An artifact, a checkpoint folder, a run folder (its newest checkpoint), a Hugging Face folder or a GGUF file; of a training's
 * weights the better ones, live or averaged, as it found out when it ended. NULL on failure. A model with which a function failed
 * for want of memory ("out of memory") is only to be closed. */
MOEC_API moec_model *moec_open(const char *path);
MOEC_API void moec_close(moec_model *m);
MOEC_API int64_t moec_parameters(const moec_model *m);
MOEC_API int moec_vocab_size(const moec_model *m);
MOEC_API int moec_context_tokens(const moec_model *m); /* the sequence length that it was trained with */

typedef struct moec_sampler {
    float temperature; /* 0: always the likeliest token */
    int top_k;         /* 0: all */
    float top_p;       /* 1: all */
    uint64_t seed;
} moec_sampler;

/* Called with each piece of whole UTF-8; return 0 to stop. */
typedef int (*moec_sink)(void *context, const char *text, size_t bytes);
/* Continue prompt by up to max_tokens. sampler NULL: temperature 0.8, top_p 0.95, seed 1. */
MOEC_API int moec_generate(moec_model *m, const char *prompt, const moec_sampler *sampler, int64_t max_tokens,
                           moec_sink sink, void *context);

/* *bits: what the model needs for the text as one document, −log₂ of its probability. */
MOEC_API int moec_score(moec_model *m, const char *text, size_t bytes, double *bits);

/* As `moec train CONFIG key=value … [--resume]`. */
MOEC_API int moec_train(const char *config_path, char *const *overrides, int override_count, int resume);

#ifdef __cplusplus
}
#endif

#endif
