/* What moec pack says of a file. */
#include "cli/pack_print.h"

#include "nn/roles.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static void print_line(const char *name, int tensors, int64_t elements, int64_t bytes, double error, double weight,
                       const char *decided) {
    printf("  %-14s %7d %12lld %12.3f %12lld", name, tensors, (long long)elements, 8 * (double)bytes / (double)elements,
           (long long)bytes);
    weight > 0 ? printf("   %14.2e", error / weight) : printf("   %14s", "-");
    printf(decided[0] ? "   %s\n" : "%s\n", decided);
}

/* "6 bits", "step 0.25", or both with the part of the rows that the step decided. */
static void add_decided(char text[96], const pack_rows *rows, int bits, double step) {
    char part[64];
    if (rows->count == 0) return;
    if (rows->at_step == 0)
        snprintf(part, sizeof part, "%d bits", bits);
    else if (rows->at_step == rows->count)
        snprintf(part, sizeof part, "step %.3g", step);
    else
        snprintf(part, sizeof part, "step %.3g (%.1f %% of rows), %d bits", step,
                 100 * (double)rows->at_step / (double)rows->count, bits);
    const size_t length = strlen(text);
    snprintf(text + length, 96 - length, "%s%s", length ? "; " : "", part);
}

static int bits_of(const pack_options *o, int grid) {
    return grid == PACK_TABLES ? quant_embed_bits(&o->quant) : o->quant.bits;
}

static double step_of(const pack_report *r, int grid) {
    return grid == PACK_TABLES ? r->embed_least_step : r->least_step;
}

static void print_component(const pack_options *o, const pack_report *r, component part) {
    const pack_component *c = &r->components[part];
    char decided[96] = "";
    for (int grid = 0; grid < PACK_GRIDS; grid++)
        add_decided(decided, &c->rows[grid], bits_of(o, grid), step_of(r, grid));
    print_line(component_name(part), c->tensors, c->elements, c->bytes, c->error, c->weight, decided);
}

/* Bits that decided nothing: others would give the same model. */
static void print_idle_bits(const pack_options *o, const pack_report *r) {
    static const char *const bits[] = {"--grid", "--embed-grid"}, *const steps[] = {"--step", "--embed-step"};
    for (int grid = 0; grid < PACK_GRIDS; grid++) {
        pack_rows sum = {0};
        for (int i = 0; i < COMPONENTS; i++) {
            sum.count += r->components[i].rows[grid].count;
            sum.at_step += r->components[i].rows[grid].at_step;
        }
        if (sum.count > 0 && sum.at_step == sum.count)
            printf("  %s %d decided nothing: %s %.3g is coarser everywhere (%s 0 leaves it to the bits)\n", bits[grid],
                   bits_of(o, grid), steps[grid], step_of(r, grid), steps[grid]);
    }
}

static void print_uniform(const pack_options *o, const pack_report *r) {
    int tensors = 0;
    printf("%s, steps of at least %.3g (embeddings %.3g) of a row's deviation\n", o->quant.gptq ? "GPTQ" : "rounding",
           r->least_step, r->embed_least_step);
    printf("  component      tensors      weights  bits/weight        bytes   relative error   grid decided by\n");
    for (int i = 0; i < COMPONENTS; i++) {
        tensors += r->components[i].tensors;
        if (r->components[i].tensors) print_component(o, r, (component)i);
    }
    print_line("all", tensors, r->raw_bytes / 4, r->weight_bytes, r->relative_error, 1, "");
    print_idle_bits(o, r);
}

/* ---- what was shared out ---- */

static void print_tensor(const pack_report *r, const pack_tensor *t) {
    const double elements = (double)param_count(t->of), bpb = t->error * r->bpb_of_nat;
    char coding[32];
    if (t->rank)
        snprintf(coding, sizeof coding, "%s+%d", t->coding, t->rank);
    else
        snprintf(coding, sizeof coding, "%s", t->coding);
    printf("  %-36s %-12s %5.2f %12.0f %8.3f %12.0f", t->of->name, coding, t->rate, elements, 8 * t->bytes / elements,
           t->bytes);
    t->weight > 0 ? printf("   %10.2e %+12.6f\n", t->error / t->weight, bpb) : printf("   %10s %12s\n", "-", "-");
}

static void print_tensors(const pack_report *r) {
    printf(
        "  tensor                               coding        rate      weights    bits        bytes   rel. error     "
        "loss BPB\n");
    for (int i = 0; i < r->tensor_count; i++) print_tensor(r, &r->tensors[i]);
}

/* Least and most rate of a component's grids. */
static void print_rates(const pack_report *r, component part) {
    double least = INFINITY, most = 0;
    for (int i = 0; i < r->tensor_count; i++) {
        const pack_tensor *t = &r->tensors[i];
        if (role_component((param_role)t->of->role) != part || t->weight == 0) continue;
        least = fmin(least, t->rate);
        most = fmax(most, t->rate);
    }
    if (most > 0)
        printf("   %.2f to %.2f\n", least, most);
    else
        printf("   -\n");
}

static void print_shares(const pack_report *r) {
    printf("  component      tensors      weights  bits/weight        bytes     loss BPB   rates\n");
    for (int i = 0; i < COMPONENTS; i++) {
        const pack_component *c = &r->components[i];
        if (!c->tensors) continue;
        printf("  %-14s %7d %12lld %12.3f %12lld", component_name((component)i), c->tensors, (long long)c->elements,
               8 * (double)c->bytes / (double)c->elements, (long long)c->bytes);
        printf("   %+10.5f", c->error * r->bpb_of_nat);
        print_rates(r, (component)i);
    }
}

static void print_allocation(const pack_options *o, bool verbose, const pack_report *r) {
    printf("shared out by what errors do to the loss, quantiser %s\n", quantizer_name(o->allocation.quantizer));
    verbose ? print_tensors(r) : print_shares(r);
    printf("  all matrices, all in %29.3f bits a weight\n  expected loss %+32.5f bits/byte\n", r->grid_bits,
           r->loss * r->bpb_of_nat);
    printf("  a further 1,000 bytes %+24.2g bits/byte\n", -1000 * r->loss_a_byte * r->bpb_of_nat);
}

void pack_print(const pack_options *o, bool verbose, const pack_report *r) {
    o->allocation.on ? print_allocation(o, verbose, r) : print_uniform(o, r);
    if (r->pruned > 0) printf("  pruned to 0 %44lld\n", (long long)r->pruned);
    printf("  tokenizer %46lld\n  config and directory %35lld\n", (long long)r->tokenizer_bytes,
           (long long)r->config_bytes);
    printf("  artifact %47lld", (long long)r->artifact_bytes);
    if (o->budget_bytes > 0)
        printf("   %.2f %% of the budget of %lld", 100 * (double)r->artifact_bytes / (double)o->budget_bytes,
               (long long)o->budget_bytes);
    printf("\n  %.1f times smaller than float32; an order-0 coder would need %.3f bits a grid weight\n",
           (double)r->raw_bytes / (double)r->artifact_bytes, r->entropy_bits);
}

void pack_print_tuning(const tune_report *r) {
    printf("  tuned: %lld steps of %lld tokens, checked on %lld others\n", (long long)r->steps, (long long)r->tokens,
           (long long)r->check_tokens);
    if (r->left_out) {
        printf("  and left out: %s\n", r->left_out);
        return;
    }
    printf("  divergence from the float model there: %.5f, was %.5f nats a token; cross-entropy %+.5f\n", r->kl_after,
           r->kl_before, r->ce_after - r->ce_before);
    printf("  artifact %47lld   %+lld bytes by tuning\n", (long long)r->bytes_after,
           (long long)(r->bytes_after - r->bytes_before));
}
