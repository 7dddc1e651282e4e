#include "nn/pass_state.h"

#include "base/memory.h"
#include <stdlib.h>

status pass_create(pass **out, model *m) {
    pass *p = xcalloc(1, sizeof *p);
    p->m = m;
    p->distill.args.ce_weight = 1;
    status s = tape_create(&p->tape, m->k);
    if (s == STATUS_OK) s = pass_lay_out_statistics(p);
    if (s == STATUS_OK)
        *out = p;
    else
        pass_destroy(p);
    return s;
}

static void release_tokens(pass *p) {
    int32_t **arrays[] = {&p->ids, &p->targets, &p->first, &p->positions, &p->bigram_ids, &p->trigram_ids, &p->labels};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        p->m->k->release(*arrays[i]);
        *arrays[i] = NULL;
    }
    free(p->host);
    p->host = NULL;
    p->capacity = 0;
}

void pass_destroy(pass *p) {
    if (!p) return;
    release_tokens(p);
    p->m->k->release(p->mask);
    pass_free_control(p);
    pass_free_distill(p);
    pass_free_statistics(p);
    tape_destroy(p->tape);
    free(p);
}

model *pass_model(const pass *p) {
    return p->m;
}

void pass_set_recompute(pass *p, bool on) {
    p->recompute = on;
}

size_t pass_peak_bytes(const pass *p) {
    return tape_peak_bytes(p->tape);
}

void pass_watch_routing(pass *p, routing_observer observer, void *context) {
    p->routing_observer = observer;
    p->routing_context = context;
}

void pass_watch_stream(pass *p, stream_observer observer, void *context) {
    p->stream_observer = observer;
    p->stream_context = context;
}

void pass_watch_products(pass *p, tape_observer observer, void *context) {
    p->product_observer = observer;
    p->product_context = context;
}

void pass_watch_gradients(pass *p, gradient_observer observer, void *context) {
    p->gradient_observer = observer;
    p->gradient_context = context;
}

void pass_watch_backward(pass *p, backward_observer observer, void *context) {
    p->backward_observer = observer;
    p->backward_context = context;
}

void pass_use_labels(pass *p, const label_args *args) {
    p->label = args ? *args : (label_args){0};
}

/* ---- running it ---- */

static pass_input input_of(const batch *b, float loss_weight) {
    return (pass_input){.batch = b->batch,
                        .length = b->length,
                        .ids = b->input_ids,
                        .targets = b->target_ids,
                        .first = b->first,
                        .domain = b->domain,
                        .loss_weight = loss_weight,
                        .until_layer = -1};
}

static status add_loss(pass *p, const batch *b, float loss_weight, float *nll) {
    pass_input in = input_of(b, loss_weight);
    var *x = pass_forward(p, &in);
    TRY(tape_status(p->tape));
    TRY(pass_head_loss(p, x, b, loss_weight, nll));
    p->batches++;
    return tape_status(p->tape);
}

void pass_begin(pass *p, bool training, bool counts) {
    tape_reset(p->tape, training);
    tape_observe(p->tape, p->product_observer, p->product_context);
    tape_observe_gradients(p->tape, p->gradient_observer, p->gradient_context);
    tape_watch_backward(p->tape, training ? p->backward_observer : NULL, p->backward_context);
    p->counts = counts;
    p->distill.matching = false;
}

status pass_train(pass *p, const batch *b, float loss_weight) {
    pass_begin(p, true, true);
    pass_next_sums(p);
    TRY(pass_ask_teacher(p, b));
    TRY(add_loss(p, b, loss_weight, NULL));
    tape_backward(p->tape);
    return tape_status(p->tape);
}

status pass_evaluate(pass *p, const batch *b, float *nll) {
    pass_begin(p, false, true);
    return add_loss(p, b, 1, nll);
}

/* The stream that the head reads, of a pass that counts for no statistics and needs no targets. */
static status run_uncounted(pass *p, const batch *b, int until_layer, var **x) {
    pass_begin(p, false, false);
    pass_input in = input_of(b, 1);
    in.targets = NULL;
    in.until_layer = until_layer;
    *x = pass_forward(p, &in);
    return tape_status(p->tape);
}

status pass_logits(pass *p, const batch *b, float *logits) {
    var *x;
    TRY(run_uncounted(p, b, -1, &x));
    return op_logits(p->tape, x, &p->m->parts->head, p->m->config.head.softcap, logits);
}

status pass_top_log_probs(pass *p, const batch *b, int k, int32_t *ids, float *log_probs, float *rest) {
    var *x;
    TRY(run_uncounted(p, b, -1, &x));
    return op_top_log_probs(p->tape, x, &p->m->parts->head, p->m->config.head.softcap, k, ids, log_probs, rest);
}

/* Hidden states are shown to the head as well, so that it is observed like every other product. */
status pass_observe(pass *p, const batch *b, int until_layer) {
    var *x;
    (void)run_uncounted(p, b, until_layer, &x);
    if (x && until_layer < 0)
        tape_notify(p->tape, p->m->parts->head.weight, x->value.data, tensor_rows(&x->value), tensor_cols(&x->value));
    return tape_status(p->tape);
}
