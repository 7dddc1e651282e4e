/* Other people's names for parameters, as data. A naming is a table of roles (nn/roles.h) and patterns; and since others cut
 * weights otherwise, a row says which part of the parameter its tensor is, and the naming how it lays out what is rotated:
 *
 *   a separate gate_proj is the first half of the rows of fc, up_proj the second (SwiGLU)
 *   a pattern of an expert's role without "@" is one tensor of all experts [E, rows, cols]
 *   rows of queries and keys stand in the order that the naming's rotary convention has for a head's channels */
#ifndef MOEC_FORMATS_NAMES_H
#define MOEC_FORMATS_NAMES_H

#include "nn/roles.h"
#include "nn/weight_source.h"

typedef enum name_part {
    PART_ALL,
    PART_GATE, /* the first half of fc's rows: those that are activated */
    PART_UP    /* the second half: those that are multiplied with */
} name_part;

typedef struct name_rule {
    param_role role;
    const char *pattern; /* "#": the layer, "@": the expert */
    name_part part;
} name_rule;

typedef struct naming {
    const char *name;
    const name_rule *rules; /* of one role and part the first is written, all are read; ends with a pattern NULL */
    bool moec;              /* roles without a rule are called as moec calls them */
    rotary_style rotary;
} naming;

/* #480, #660 and #1692 name by modules (bigram.embed, mlp.experts.0.fc); what they call as #2102 does is not in the table. */
extern const naming naming_records;
/* Hugging Face's Llama, Mistral, Qwen2 and Qwen3 (one table); Qwen2-MoE and Qwen3-MoE; Mixtral. */
extern const naming naming_llama, naming_qwen_moe, naming_mixtral;
/* GGUF's: Llama, Mistral and Mixtral, whose queries and keys are permuted; and the Qwens, whose are not. */
extern const naming naming_gguf_llama, naming_gguf_qwen;

/* ---- a parameter's tensors ---- */

/* One tensor that a parameter, or a part of it, is stored as. */
typedef struct named_tensor {
    char name[PARAM_NAME_BYTES];
    name_part part;
    bool stacked; /* it has all experts' */
} named_tensor;

enum { MOST_PARTS = 2, MOST_SPELLINGS = 3 };
/* The part's possible names, the one that is written first; returns how many: 0 where the naming has none for the role. */
int naming_spellings(const naming *n, const param_spec *spec, name_part part, named_tensor out[MOST_SPELLINGS]);
/* How the naming cuts the role where it is written: PART_ALL alone, or PART_GATE and PART_UP; returns how many parts. 0: it has
 * no such role. A role that is cut may have names for PART_ALL too, of files that keep it whole. */
int naming_parts(const naming *n, param_role role, name_part parts[MOST_PARTS]);
/* Which rows of the parameter a part is. */
void part_rows(const param_spec *spec, name_part part, int64_t *first, int64_t *rows);

/* ---- rotated rows ---- */

/* Whether the role's rows (or, of norms' weights, elements) are channels that rotate. */
bool role_is_rotated(param_role role);
/* The channel of a head, in the convention `to`, that is channel `channel` in the convention `from`; dims channels rotate. */
int rotary_channel(rotary_style from, rotary_style to, int dims, int channel);

/* ---- whole names ---- */

/* The parameter of m that a tensor of this name is; NULL: none. For namings that cut nothing. */
param *naming_find(const naming *n, const model *m, const char *name);
/* What p is called; false where the naming has no name for its role. */
bool naming_write(const naming *n, const param *p, char name[PARAM_NAME_BYTES]);

#endif
