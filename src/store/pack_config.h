/* How a trained model is packed: the section `pack` of a run. */
#ifndef MOEC_STORE_PACK_CONFIG_H
#define MOEC_STORE_PACK_CONFIG_H

#include "config/section.h"
#include "store/artifact.h"

typedef struct pack_config {
    int64_t budget_bytes; /* the artifact must not be larger; 0: any size */
    int bits;             /* of matrices in blocks */
    int embed_bits;       /* of embeddings and the head; 0: as bits */
    int64_t calibration_batches;
    double gptq_damp;
    double prune_fraction; /* of each matrix in blocks: its smallest weights become 0 */
    /* of uniform grids, as quant_options has them */
    int64_t keep_float_elements;
    double scale_floor;
    bool plain_clip, plain_tables, pool_experts;
} pack_config;

extern const config_section pack_section;
pack_config pack_config_default(void);
status pack_config_check(const pack_config *c);
/* context_tokens: the sequence length that the model was trained with. */
pack_options pack_options_of(const pack_config *c, int64_t context_tokens);
/* The settings of c that these options do not have, as "embed_bits 8 -> 6, …"; a new string, empty where they have all. */
char *pack_config_overruled(const pack_config *c, const quant_options *by);

#endif
