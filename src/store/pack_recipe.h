/* A recipe: a list of rules in YAML that say of some tensors how they are packed, whatever would be best for the loss.
 *
 *     - {component: embedding, float16: true}
 *     - {component: experts, layers: [4, 5], bits: 5}
 *     - {name: "blocks.*.attn.c_v.weight", rate: 4, quantizer: round}
 *     - {up_to: 65536, float16: true}
 *     - {component: mlp, quantizer: gptq, group: 64, asymmetric: true}
 *     - {component: attention, rotate: true}
 *     - {component: mlp, quantizer: round, rank: 16, rank_bits: 6}
 *
 * A rule means the tensors that everything it names means; of several rules for one tensor the last one counts, key by key. Matrices alone
 * can be grids; a rule that means no matrix is refused. */
#ifndef MOEC_STORE_PACK_RECIPE_H
#define MOEC_STORE_PACK_RECIPE_H

#include "store/artifact.h"
#include "store/pack_plan.h"

/* `text` (bytes long) is what stands in the file at `path`, which messages name. */
status pack_recipe_apply(pack_plan *plan, const model *m, const char *path, const char *text, size_t bytes);
/* The plan that an allocation begins with: what the options say of all tensors, and what their recipe says of some. An error, too, is known
 * before anything is measured; pack_plan_free it either way. */
status pack_plan_of(pack_plan *plan, const model *m, const pack_options *o);

#endif
