/* What a device computes, declared once: kernel.h makes a table of functions from this list, profile.c times each of them.
 *
 *   KERNEL(name, parameters, arguments, flops)           returns nothing
 *   KERNEL_STATUS(name, parameters, arguments, flops)    returns a status: it may run out of memory
 *
 * `flops` counts floating-point operations from the arguments, 2 a multiply-add, or is 0 for what moves memory.
 *
 * Conventions
 * - Pointers are device memory unless they are called HOST. `void *` is a row-major array of act, `float *` of float32.
 * - N = B·T rows (tokens), d channels, V vocabulary, E experts, R rows of grouped tokens.
 * - Statistics, routers, losses and every gradient of a parameter are float32 or wider; sums are formed in a fixed order, so
 *   the same call with the same number of threads gives the same bits.
 * - A gradient of an activation goes to a `grad_out`: overwritten or added to, or not wanted (data == NULL).
 *   A gradient of a parameter is always added to its array.
 * - `first` (int32 [N]) tells for position t of its row the first position that it may look at: 0 where a sequence is
 *   one document, the document's start where boundaries count. NULL means 0 everywhere. t is a document's start
 *   exactly when first[t] == t.
 * - Numbers that only the device knows (how many rows an expert has, the norm of all gradients) stay there: kernels write them
 *   to device memory, and those that need them read them there. Nothing inside a step waits for the host. */

/* ---- memory ------------------------------------------------------------------------------------------------------- */

/* 64-byte aligned, not zeroed */
KERNEL_STATUS(alloc, (void **pointer, size_t bytes), (pointer, bytes), 0)
/* The same for what may never be used as a whole: where the system can, memory is taken page by page as it is written. */
KERNEL_STATUS(alloc_sparse, (void **pointer, size_t bytes), (pointer, bytes), 0)
KERNEL(release, (void *pointer), (pointer), 0)
KERNEL(upload, (void *device, const void *host, size_t bytes), (device, host, bytes), 0)
KERNEL(download, (void *host, const void *device, size_t bytes), (host, device, bytes), 0)
KERNEL(copy, (void *to, const void *from, size_t bytes), (to, from, bytes), 0)
KERNEL(zero, (void *pointer, size_t bytes), (pointer, bytes), 0)
KERNEL(to_act, (void *out, const float *in, int64_t count), (out, in, count), 0)
KERNEL(to_float, (float *out, const void *in, int64_t count), (out, in, count), 0)

/* ---- matrix products ------------------------------------------------------------------------------------------------ */

KERNEL(matmul, (const matmul_args *args), (args), matmul_flops(args))
/* A weight of values that can change. `room`, here and below: where its memory comes from; NULL: it has its own. */
KERNEL_STATUS(weight_create, (weight * w, int64_t rows, int64_t cols, weight_room *room), (w, rows, cols, room), 0)
/* A weight that is quantised and stays as it is; the codes are taken over from HOST memory (q may be freed afterwards). */
KERNEL_STATUS(weight_quantized, (weight * w, const quantized *q, weight_room *room), (w, q, room), 0)
/* A weight that is quantised, stays as it is, and is multiplied in integers: its products round each row of x, in blocks of up to 32
 * columns, to x ≈ s · q with |q| ≤ 127, s = max |x| / 127, and sum q · code exactly; with input_bits 16 instead of 8 to
 * x ≈ s · (q + r / 256) with |r| ≤ 127 what q leaves, for twice the work. What becomes of a row of x does not depend on the other rows,
 * their number or the instruction set. The codes are taken over from HOST memory; offsets are allowed here alone. Forward only:
 * linear, grouped_linear, linear_several, embed. */
KERNEL_STATUS(weight_packed, (weight * w, const quantized *q, int input_bits, weight_room *room),
              (w, q, input_bits, room), 0)
/* What w is, and where its arrays lie; they stay w's. STORED_NOTHING: it cannot be stored (quantised with exact inputs). */
KERNEL(weight_describe, (stored_weight * out, const weight *w), (out, w), 0)
/* A weight whose arrays are there already, made by the same device and kernels_weight_layout, in memory that `room` owns
 * (weight_room_adopt) and nobody writes to. Whatever is in the arrays, products stay within them; numbers that do not go together, and
 * arrays of other sizes than they say, are refused. Values of another type than act, too. */
KERNEL_STATUS(weight_adopt, (weight * w, const stored_weight *s, weight_room *room), (w, s, room), 0)
/* values[rows, cols]: rows first … as products see them */
KERNEL(weight_values, (float *values, const weight *w, int64_t first, int64_t rows), (values, w, first, rows), 0)
KERNEL(weight_destroy, (weight * w), (w), 0)
/* Let the products read these values (float32 [rows, cols], copied) from now on as the weight's rows first …: after the
 * optimiser changed them, or while a model is loaded. */
KERNEL(weight_update, (weight * w, const float *values, int64_t first, int64_t rows), (w, values, first, rows), 0)
/* y[N, rows] = x[N, cols] · Wᵀ, as act, or as float32 where y_type says so. */
KERNEL(linear, (void *y, dtype y_type, const void *x, const weight *w, int64_t N), (y, y_type, x, w, N),
       product_flops(PRODUCT_FORWARD, w, N))
/* The same for `count` ≤ LINEAR_SEVERAL_MOST packed weights that read one x, which is rounded once: y[i][N, rows_i], act. y and w are
 * HOST arrays. */
KERNEL(linear_several, (void *const *y, const void *x, const weight *const *w, int64_t count, int64_t N),
       (y, x, w, count, N), several_flops(w, count, N))
/* dx[N, cols] (+)= dy[N, rows] · W */
KERNEL(linear_backward_input, (grad_out dx, const void *dy, const weight *w, int64_t N), (dx, dy, w, N),
       product_flops(PRODUCT_BACKWARD_INPUT, w, N))
/* dW[rows, cols] += dyᵀ · x */
KERNEL(linear_backward_weight, (float *dw, const void *dy, const void *x, const weight *w, int64_t N),
       (dw, dy, x, w, N), product_flops(PRODUCT_BACKWARD_WEIGHT, w, N))
/* The same for E weights of one shape on grouped rows: those of weight e are start[e] … start[e + 1] (int32 [E + 1], at most
 * most_rows in all). w, dw and so on are HOST arrays of E. */
KERNEL(grouped_linear,
       (void *y, const void *x, const weight *const *w, const int32_t *start, int64_t E, int64_t most_rows),
       (y, x, w, start, E, most_rows), product_flops(PRODUCT_GROUPED, w[0], most_rows))
KERNEL(grouped_linear_backward_input,
       (void *dx, const void *dy, const weight *const *w, const int32_t *start, int64_t E, int64_t most_rows),
       (dx, dy, w, start, E, most_rows), product_flops(PRODUCT_GROUPED, w[0], most_rows))
KERNEL(grouped_linear_backward_weight,
       (float *const *dw, const void *dy, const void *x, const weight *const *w, const int32_t *start, int64_t E,
        int64_t most_rows),
       (dw, dy, x, w, start, E, most_rows), product_flops(PRODUCT_GROUPED, w[0], most_rows))
/* y[n] += bias, in place. Backward: dbias += Σ dy */
KERNEL(bias_add, (void *y, const float *bias, int64_t N, int64_t cols), (y, bias, N, cols), 0)
KERNEL(bias_add_backward, (float *dbias, const void *dy, int64_t N, int64_t cols), (dbias, dy, N, cols), 0)
/* sums[c] += Σ_n y[n, c]² */
KERNEL(add_column_squares, (float *sums, const void *y, int64_t N, int64_t cols), (sums, y, N, cols), 0)

/* ---- embedding -------------------------------------------------------------------------------------------------------- */

/* y[n] = row ids[n] of the table */
KERNEL(embed, (void *y, const weight *table, const int32_t *ids, int64_t N), (y, table, ids, N), 0)
KERNEL(embed_backward, (float *dtable, const void *dy, const int32_t *ids, int64_t N, int64_t d, int64_t V),
       (dtable, dy, ids, N, d, V), 0)

/* ---- normalisation -------------------------------------------------------------------------------------------------------- */

/* y = scale · weight ⊙ x · rstd, rstd = 1 / √(mean(x²) + eps); weight [d] or NULL for 1. rstd[N] is kept for backward. */
KERNEL(rms_norm,
       (void *y, float *rstd, const void *x, const float *weight, float scale, float eps, int64_t N, int64_t d),
       (y, rstd, x, weight, scale, eps, N, d), 0)
/* dweight may be NULL: not wanted */
KERNEL(rms_norm_backward,
       (grad_out dx, float *dweight, const void *dy, const void *x, const float *rstd, const float *weight, float scale,
        int64_t N, int64_t d),
       (dx, dweight, dy, x, rstd, weight, scale, N, d), 0)
/* Per head of x [N, heads·head_dim] (y == x is allowed): y = gain[head] · R(weight ⊙ norm(x)), norm the RMS norm where args
 * say so, R the rotation by positions[n]. rstd [N, heads] is kept for backward (written only with a norm). */
KERNEL(head_rotate, (void *y, float *rstd, const void *x, const head_args *args, int64_t N), (y, rstd, x, args, N), 0)
/* dweight and dgain may be NULL: not wanted */
KERNEL(head_rotate_backward,
       (grad_out dx, float *dweight, float *dgain, const void *dy, const void *x, const float *rstd,
        const head_args *args, int64_t N),
       (dx, dweight, dgain, dy, x, rstd, args, N), 0)

/* ---- attention -------------------------------------------------------------------------------------------------------------- */

/* Causal softmax(q kᵀ / √head_dim) v, in blocks, without a T × T array; lse[batch, heads, queries] keeps
 * log Σ exp for backward (NULL: not wanted). Where queries < keys, `first` is still [batch, queries] (or NULL), and
 * counts positions among the keys. */
KERNEL(attention,
       (void *y, float *lse, const void *q, const void *k, const void *v, const int32_t *first,
        const attention_shape *shape),
       (y, lse, q, k, v, first, shape), attention_flops(shape, 2))
/* The same for sequences of different lengths, spans HOST [count], whose keys and values lie in caches; of the shape heads, head_dim
 * and q_stride count. What a query gets depends on its own span alone, and on whether that has more queries than a few; not on where the
 * blocks of its table lie. */
KERNEL(attention_spans,
       (void *y, const void *q, const void *k, const void *v, cache_type type, const attention_span *spans,
        int64_t count, const attention_shape *shape),
       (y, q, k, v, type, spans, count, shape), attention_spans_flops(spans, count, shape))
/* x [N, heads·head_dim], keys or values, becomes N rows of a cache (cache_row_bytes), one behind another. A head with a NaN or an infinity
 * is NaN in int8. */
KERNEL(cache_put, (void *rows, cache_type type, const void *x, int64_t N, int heads, int head_dim),
       (rows, type, x, N, heads, head_dim), 0)
/* Needs queries == keys. dq, dk, dv are overwritten. */
KERNEL(attention_backward,
       (void *dq, void *dk, void *dv, const void *dy, const void *y, const float *lse, const void *q, const void *k,
        const void *v, const int32_t *first, const attention_shape *shape),
       (dq, dk, dv, dy, y, lse, q, k, v, first, shape), attention_flops(shape, 4))
/* XSA (#2102): z = y − (y·v̂) v̂ per head, v̂ = v / max(|v|, 1e-12) of the same position and the head's kv head. */
KERNEL(xsa, (void *z, const void *y, const void *v, int64_t N, int heads, int kv_heads, int head_dim),
       (z, y, v, N, heads, kv_heads, head_dim), 0)
KERNEL(xsa_backward,
       (grad_out dy, grad_out dv, const void *dz, const void *y, const void *v, int64_t N, int heads, int kv_heads,
        int head_dim),
       (dy, dv, dz, y, v, N, heads, kv_heads, head_dim), 0)

/* ---- the residual stream ------------------------------------------------------------------------------------------------------ */

/* y = mix[0] ⊙ x + mix[1] ⊙ x0; mix: [2, d] */
KERNEL(mix, (void *y, const void *x, const void *x0, const float *mix, int64_t N, int64_t d), (y, x, x0, mix, N, d), 0)
KERNEL(mix_backward,
       (grad_out dx, grad_out dx0, float *dmix, const void *dy, const void *x, const void *x0, const float *mix,
        int64_t N, int64_t d),
       (dx, dx0, dmix, dy, x, x0, mix, N, d), 0)
/* SmearGate: on the first `width` of d channels y_t = x_t + σ(w) ⊙ (x_{t−1} − x_t); the others are copied. x_{t−1} is 0 at
 * a document's start and, at t = 0, row b of carry [B, width] (NULL: 0). y == x is not allowed. */
KERNEL(smear,
       (void *y, const void *x, const float *w, const void *carry, const int32_t *first, int64_t B, int64_t T,
        int64_t d, int64_t width),
       (y, x, w, carry, first, B, T, d, width), 0)
KERNEL(smear_backward,
       (grad_out dx, float *dw, const void *dy, const void *x, const float *w, const int32_t *first, int64_t B,
        int64_t T, int64_t d, int64_t width),
       (dx, dw, dy, x, w, first, B, T, d, width), 0)
/* y = x + s ⊙ z; s: [d], or NULL for 1. Backward: dx (+)= dy; dz (+)= s ⊙ dy; ds += Σ dy ⊙ z */
KERNEL(scale_add, (void *y, const void *x, const void *z, const float *s, int64_t N, int64_t d), (y, x, z, s, N, d), 0)
KERNEL(scale_add_backward,
       (grad_out dx, grad_out dz, float *ds, const void *dy, const void *z, const float *s, int64_t N, int64_t d),
       (dx, dz, ds, dy, z, s, N, d), 0)
/* Gated skip (#2102): y = σ(g) ⊙ x + (1 − σ(g)) ⊙ w ⊙ skip; w, g: [d] */
KERNEL(gated_skip, (void *y, const void *x, const void *skip, const float *w, const float *g, int64_t N, int64_t d),
       (y, x, skip, w, g, N, d), 0)
KERNEL(gated_skip_backward,
       (grad_out dx, grad_out dskip, float *dw, float *dg, const void *dy, const void *x, const void *skip,
        const float *w, const float *g, int64_t N, int64_t d),
       (dx, dskip, dw, dg, dy, x, skip, w, g, N, d), 0)
/* y = x + s z; s: one float32. Backward: dz (+)= s dy; *ds += Σ dy z (dx is dy itself) */
KERNEL(scalar_add, (void *y, const void *x, const void *z, const float *s, int64_t N, int64_t d), (y, x, z, s, N, d), 0)
KERNEL(scalar_add_backward,
       (grad_out dz, float *ds, const void *dy, const void *z, const float *s, int64_t N, int64_t d),
       (dz, ds, dy, z, s, N, d), 0)
/* Gain and gated chunks (#1692): y[n, c] = gain[c] · gates[n, e] · u[n, c], where chunk e of the h channels has h/E of them
 * (the first h mod E chunks one more); gain: [h] or NULL for 1, gates: float32 [N, E] or NULL for 1 (then E is 1).
 * Backward: du (+)= …; dgain (NULL: not wanted) is added to, dgates[N, E] (NULL: not wanted) overwritten. */
KERNEL(chunk_gate, (void *y, const void *u, const float *gain, const float *gates, int64_t N, int64_t h, int64_t E),
       (y, u, gain, gates, N, h, E), 0)
KERNEL(chunk_gate_backward,
       (grad_out du, float *dgain, float *dgates, const void *dy, const void *u, const float *gain, const float *gates,
        int64_t N, int64_t h, int64_t E),
       (du, dgain, dgates, dy, u, gain, gates, N, h, E), 0)
/* h[N, width] = f(u); u is [N, width], or [N, 2·width] for SwiGLU. rows (one int32, or NULL for N): how many of the N there
 * are. */
KERNEL(activate, (void *h, const void *u, activation f, const int32_t *rows, int64_t N, int64_t width),
       (h, u, f, rows, N, width), 0)
KERNEL(activate_backward,
       (void *du, const void *dh, const void *u, activation f, const int32_t *rows, int64_t N, int64_t width),
       (du, dh, u, f, rows, N, width), 0)

/* ---- routing -------------------------------------------------------------------------------------------------------------------- */

/* probs[N, E] = softmax(x Wᵀ), all in float32; w: float32 [E, d]. logits may be NULL. */
KERNEL(router, (float *logits, float *probs, const void *x, const float *w, int64_t N, int64_t d, int64_t E),
       (logits, probs, x, w, N, d, E), 0)
/* From dlogits[N, E]: dx (+)= dlogits W, dW += dlogitsᵀ x (NULL: not wanted) */
KERNEL(router_backward,
       (grad_out dx, float *dw, const float *dlogits, const void *x, const float *w, int64_t N, int64_t d, int64_t E),
       (dx, dw, dlogits, x, w, N, d, E), 0)
/* chosen[N, k]: the k experts of largest score + bias[E] (NULL: none), largest first; ties go to the lower index. */
KERNEL(top_k, (int32_t * chosen, const float *scores, const float *bias, int64_t N, int64_t E, int k),
       (chosen, scores, bias, N, E, k), 0)
/* Row n keeps its first most[n] ≥ 1 choices of k; the others become −1: nobody. */
KERNEL(limit_choices, (int32_t * chosen, const int32_t *most, int64_t N, int k), (chosen, most, N, k), 0)
/* gates[n, j] = probs[n, chosen[n, j]], 0 of nobody; divided by their sum over j in rows of at least `renormalize`
 * choices (0: in none). */
KERNEL(gate, (float *gates, const float *probs, const int32_t *chosen, int renormalize, int64_t N, int64_t E, int k),
       (gates, probs, chosen, renormalize, N, E, k), 0)
/* dlogits[N, E] from dgates[N, k], plus the balance loss's gradient balance · E · f_e / N for each token's probability of
 * expert e, f_e = first_counts[e] / N (first_counts may be NULL where balance is 0): through the gates and the softmax. */
KERNEL(gate_backward,
       (float *dlogits, const float *dgates, const int32_t *first_counts, float balance, const float *probs,
        const int32_t *chosen, bool renormalize, int64_t N, int64_t E, int k),
       (dlogits, dgates, first_counts, balance, probs, chosen, renormalize, N, E, k), 0)
/* logits += std · noise, probs = softmax(logits). The noise is normal and a function of seed and place alone. */
KERNEL(router_noise, (float *logits, float *probs, float std, uint64_t seed, int64_t N, int64_t E),
       (logits, probs, std, seed, N, E), 0)
/* Some experts only: logits += mask, probs = softmax(logits), where row n's mask [E] (0, or −∞ for an expert that is not to be
 * chosen) is mask[n / rows_a_mask]. scores (NULL: not wanted) = probs + bias + mask, for the choice where there is a bias. */
KERNEL(router_mask,
       (float *logits, float *probs, float *scores, const float *mask, const float *bias, int64_t rows_a_mask,
        int64_t N, int64_t E),
       (logits, probs, scores, mask, bias, rows_a_mask, N, E), 0)
/* Tokens with a label (labels[n] ≥ 0) go to that expert and no other: its probability becomes 1, the others' logits −∞. */
KERNEL(router_force, (float *logits, float *probs, const int32_t *labels, int64_t N, int64_t E),
       (logits, probs, labels, N, E), 0)
/* Cross-entropy of the router against labels (< 0: none): dlogits += weight · d (1/N) Σ −log probs[n, labels[n]] / d logits */
KERNEL(router_label_backward,
       (float *dlogits, const float *probs, const int32_t *labels, float weight, int64_t N, int64_t E),
       (dlogits, probs, labels, weight, N, E), 0)
/* Add to sums[LABEL_SUMS] the means over N tokens of: −log probs[n, labels[n]] (0 without a label), whether that expert is the most
 * probable, whether there is a label. */
KERNEL(label_statistics, (double *sums, const float *probs, const int32_t *labels, int64_t N, int64_t E),
       (sums, probs, labels, N, E), 0)
/* Router z-loss (Zoph et al. 2022): dlogits += weight · d mean over tokens of (log Σ exp logits)² / d logits */
KERNEL(router_z_backward, (float *dlogits, const float *logits, const float *probs, float weight, int64_t N, int64_t E),
       (dlogits, logits, probs, weight, N, E), 0)
/* dlogits = probs ⊙ (dprobs − Σ_e probs dprobs), [N, E] */
KERNEL(softmax_backward, (float *dlogits, const float *dprobs, const float *probs, int64_t N, int64_t E),
       (dlogits, dprobs, probs, N, E), 0)
/* chosen[n, e] = e: every token goes to every expert. */
KERNEL(choose_all, (int32_t * chosen, int64_t N, int64_t E), (chosen, N, E), 0)
/* gates[n, e] = 1 for e = first[n], else 0 */
KERNEL(gate_one_hot, (float *gates, const int32_t *first, int64_t N, int64_t E), (gates, first, N, E), 0)
/* counts[E]: how many tokens chose expert e first; chosen: [N, k] */
KERNEL(count_first, (int32_t * counts, const int32_t *chosen, int64_t N, int64_t E, int k), (counts, chosen, N, E, k),
       0)
/* Add what one pass through a router did to sums (ROUTING_SUMS(E) doubles): for each expert its share of the pairs
 * (token, choice) by pair_counts, of first choices, and its mean probability; the mean entropy (nats); and, where logits are
 * given, the mean of (log Σ exp logits)²; and f · p̄, the sum over experts of the product of the second and the third. */
KERNEL(routing_statistics,
       (double *sums, const float *logits, const float *probs, const int32_t *pair_counts, const int32_t *first_counts,
        int64_t N, int64_t E, int k),
       (sums, logits, probs, pair_counts, first_counts, N, E, k), 0)
/* Group the N·k (token, choice) pairs by expert. The rows of expert e are start[e] … start[e] + counts[e]; a group's
 * start is a multiple of `align`, rows between groups belong to nobody. slot[N·k] is a pair's row, source[R] a row's
 * pair or −1. counts [E], start [E + 1]; start[E] = R ≤ N·k + E·(align − 1). */
KERNEL(group,
       (int32_t * slot, int32_t *source, int32_t *counts, int32_t *start, const int32_t *chosen, int64_t N, int k,
        int64_t E, int64_t align),
       (slot, source, counts, start, chosen, N, k, E, align), 0)
/* rows[r] = x[source[r] / k], 0 where source[r] < 0, for the *count rows.   Backward: dx[n] (+)= Σ_j drows[slot[n, j]] */
KERNEL(gather, (void *rows, const void *x, const int32_t *source, int k, const int32_t *count, int64_t d),
       (rows, x, source, k, count, d), 0)
KERNEL(gather_backward, (grad_out dx, const void *drows, const int32_t *slot, int k, int64_t N, int64_t d),
       (dx, drows, slot, k, N, d), 0)
/* y[n] = Σ_j gates[n, j] · rows[slot[n, j]]; behind a slot of −1 (nobody) there are no others
 * Backward: drows[slot[n, j]] = gates[n, j] · dy[n] (rows of nobody become 0), dgates[n, j] = dy[n] · rows[slot[n, j]]
 * (NULL: not wanted); drows may be rows */
KERNEL(combine, (void *y, const void *rows, const float *gates, const int32_t *slot, int k, int64_t N, int64_t d),
       (y, rows, gates, slot, k, N, d), 0)
KERNEL(combine_backward,
       (void *drows, float *dgates, const void *dy, const void *rows, const float *gates, const int32_t *slot,
        const int32_t *source, int k, int64_t N, const int32_t *count, int64_t d),
       (drows, dgates, dy, rows, gates, slot, source, k, N, count, d), 0)
/* y[n] = g[n] · x[n], g[n] = σ(x0[n] · w): the gate of a shared MLP (Qwen2-MoE). g [N] is kept for backward, which adds to
 * dw (NULL: not wanted). */
KERNEL(sigmoid_gate, (void *y, float *g, const void *x, const void *x0, const float *w, int64_t N, int64_t d),
       (y, g, x, x0, w, N, d), 0)
KERNEL(sigmoid_gate_backward,
       (grad_out dx, grad_out dx0, float *dw, const void *dy, const float *g, const void *x, const void *x0,
        const float *w, int64_t N, int64_t d),
       (dx, dx0, dw, dy, g, x, x0, w, N, d), 0)

/* ---- the loss ---------------------------------------------------------------------------------------------------------------------- */

/* z = cap · tanh(logits / cap) (cap 0: z = logits); nll[n] = log Σ exp z − z[target]. With dlogits (act [N, V]) it also
 * writes scale · d nll / d logits. logits: float32 [N, V]. A target < 0 is ignored: nll 0, gradient 0. */
KERNEL(softcap_cross_entropy,
       (float *nll, void *dlogits, const float *logits, const int32_t *targets, float cap, float scale, int64_t N,
        int64_t V),
       (nll, dlogits, logits, targets, cap, scale, N, V), 0)
/* Learning from a teacher (Hinton et al. 2015): with dlogits it writes scale · d (ce_weight · nll + teacher_weight · kl) / d logits,
 * nll as above and kl[n] = τ² D. D compares k + 1 classes: the tokens that the teacher lists, and all others as one, the rest.
 * With a = the teacher's logarithms of the classes' probabilities, b = the student's (b_rest = log Σ softmax(z) over the others),
 *   P = softmax(a / τ), Q = softmax(b / τ);  D = Σ P log(P / Q), or reversed Σ Q log(Q / P).
 * The rest is one class before it is tempered, on both sides: of its tokens the teacher's column knows the sum alone, and the
 * sum of tempered probabilities is no function of that. So a student that agrees with the teacher has kl 0 and no gradient from it
 * at any τ. d kl / d z_v = g_v of a listed token and g_rest · softmax(z)_v / Σ rest of another, with g = τ (Q − P), or
 * reversed τ Q (log(Q / P) − D): both sum to 0. No logarithm of a rest is below −69; where all V are listed there is no rest.
 * Rows of a target < 0: 0. */
KERNEL(softcap_distill,
       (float *nll, float *kl, void *dlogits, const float *logits, const int32_t *targets, const teacher_args *teacher,
        float cap, float scale, int64_t N, int64_t V),
       (nll, kl, dlogits, logits, targets, teacher, cap, scale, N, V), 0)
/* The normalised distance of x from a target: *factor = 1 / Σ target² (0 where that is 0), *sum += Σ (x − target)² · *factor */
KERNEL(match, (double *sum, float *factor, const void *x, const void *target, int64_t count),
       (sum, factor, x, target, count), 0)
/* dx (+)= 2 · scale · *factor · (x − target) */
KERNEL(match_backward,
       (grad_out dx, const void *x, const void *target, const float *factor, float scale, int64_t count),
       (dx, x, target, factor, scale, count), 0)
/* logits ← cap · tanh(logits / cap) */
KERNEL(softcap, (float *logits, float cap, int64_t count), (logits, cap, count), 0)
/* Of each row of z the k largest: ids [N, k], of equal ones the lower first, log_probs [N, k] = z − log Σ exp z, and rest [N], the logarithm
 * of the probability of all others together, which is formed of them and not as 1 − Σ. 1 ≤ k < V, k ≤ TOP_LOG_PROBS_MOST. Where a row
 * has a NaN or +∞, so have its log_probs or its rest. The logits are overwritten. */
KERNEL(top_log_probs,
       (int32_t * ids, float *log_probs, float *rest, float *logits, float cap, int64_t N, int64_t V, int k),
       (ids, log_probs, rest, logits, cap, N, V, k), 0)

/* ---- float32 arrays of parameters -------------------------------------------------------------------------------------------------- */

/* *total += factor · Σ x, *total += Σ x² */
KERNEL(add_sum, (double *total, const float *x, int64_t count, double factor), (total, x, count, factor), 0)
KERNEL(add_squares, (double *total, const float *x, int64_t count), (total, x, count), 0)
/* What gradients are multiplied with so that their norm √squares is at most `limit`, as torch's clip_grad_norm_: 1, or
 * limit / (norm + 1e-6) beyond it (limit 0: always 1); NaN where the norm is not finite: then nothing is updated. */
KERNEL(clip_factor, (float *factor, const double *squares, double limit), (factor, squares, limit), 0)
/* y += x */
KERNEL(add, (float *y, const float *x, int64_t count), (y, x, count), 0)
/* y += t (x − y): EMA with decay 1 − t */
KERNEL(lerp, (float *y, const float *x, float t, int64_t count), (y, x, t, count), 0)
/* The gradient is grad · *clip (NULL: 1); where that is NaN nothing is changed. m and v are of args->moments.type. */
KERNEL(adam, (float *w, void *m, void *v, const float *grad, const float *clip, int64_t count, const adam_args *args),
       (w, m, v, grad, clip, count, args), 0)
/* Muon (Jordan 2024; #2102): buffer ← momentum·buffer + grad; g = grad + momentum·buffer (Nesterov);
 * rows of g to unit length; Newton–Schulz with 3.4445, −4.7750, 2.0315; w ← (1 − lr·wd) w − lr·√max(1, rows/cols)·g;
 * the buffer is of args->moments.type */
KERNEL(muon,
       (float *w, void *buffer, const float *grad, const float *clip, int64_t rows, int64_t cols,
        const muon_args *args),
       (w, buffer, grad, clip, rows, cols, args), muon_flops(rows, cols, args))
/* out = w on the symmetric grid of 2·levels + 1 values, one scale a row: max|row| · clip / levels. QAT's forward. */
KERNEL(fake_quantize, (float *out, const float *w, int64_t rows, int64_t cols, int levels, float clip),
       (out, w, rows, cols, levels, clip), 0)
/* H[cols, cols] += xᵀ x (x: act [N, cols]); GPTQ's Hessian, in float32 */
KERNEL(gram, (float *hessian, const void *x, int64_t N, int64_t cols), (hessian, x, N, cols), gram_flops(N, cols))
