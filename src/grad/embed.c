#include "grad/op.h"

typedef struct embed_op {
    var *y;
    param *table;
    const int32_t *ids;
} embed_op;

static void embed_backward(tape *t, void *record) {
    embed_op *op = record;
    float *dtable = param_grad(op->table);
    tape_notify_gradient(
        t,
        &(product_gradient){.weight = op->table, .dy = op->y->grad, .ids = op->ids, .N = tensor_rows(&op->y->value)});
    if (dtable)
        tape_kernels(t)->embed_backward(dtable, op->y->grad, op->ids, tensor_rows(&op->y->value),
                                        tensor_cols(&op->y->value), op->table->matrix.rows);
}

var *op_embed(tape *t, param *table, const int32_t *ids, int64_t N) {
    var *y = new_matrix(t, N, table->matrix.cols);
    if (!y) return NULL;
    tape_kernels(t)->embed(y->value.data, &table->matrix, ids, N);
    embed_op *op = tape_record(t, sizeof *op, embed_backward, y);
    if (op) *op = (embed_op){.y = y, .table = table, .ids = ids};
    return y;
}
