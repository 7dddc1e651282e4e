#include "cli/cli.h"

#include "eval/parity.h"
#include <stdio.h>

static const char help[] =
    "usage: moec verify CASE... [--all]\n"
    "\n"
    "Compares moec with another program's own model, in float32. Of a record script: a folder with config.json (the\n"
    "script's argument names), model.safetensors, io.safetensors and grads.safetensors; logits must agree to 1e-4,\n"
    "losses to 1e-5 and each gradient to 1e-3 of its tensor's largest. Of transformers: a model's folder and\n"
    "io.safetensors beside it (input_ids, logits); logits must agree to 2e-5. Exit status 0 only if all do.\n"
    "\n"
    "  --all   print every gradient, not only the five that differ most\n"
    "\n"
    "example: moec verify tests/parity/looped\n";

static void print_trained(const parity_report *r, bool all) {
    const parity_tolerance *t = &r->tolerance;
    printf("  %-52s %10.2e   (at most %.0e)\n", "cross-entropy, difference", r->ce, t->loss);
    printf("  %-52s %10.2e   (at most %.0e)\n", "loss, difference", r->loss, t->loss);
    printf("  gradients of %d tensors, difference relative to the tensor's largest (at most %.0e)\n", r->gradient_count,
           t->gradient);
    int shown = all || r->gradient_count < 5 ? r->gradient_count : 5;
    for (int i = 0; i < shown; i++) {
        const parity_difference *d = &r->gradients[i];
        printf("    %-50s %10.2e\n", d->name, d->difference == 0 ? 0 : d->difference / d->largest);
    }
}

static void print_report(const char *folder, const parity_report *r, bool all) {
    printf("%s\n", folder);
    printf("  %-52s %10.2e   (at most %.0e)\n", "logits, largest difference", r->logits, r->tolerance.logits);
    if (r->trained) print_trained(r, all);
}

static status run(int argc, char **argv) {
    bool all = cli_flag(&argc, argv, "--all"), hold = true;
    TRY(cli_rest(argc, argv, 1, 1 << 20, "moec verify CASE... [--all]"));
    const kernels *k;
    TRY(device_open("cpu", "f32", &k));
    for (int i = 1; i < argc; i++) {
        parity_report report;
        status s = parity_run(argv[i], k, &report);
        if (s == STATUS_OK) print_report(argv[i], &report, all);
        bool this_holds = s == STATUS_OK && parity_holds(&report);
        parity_report_free(&report);
        TRY(s);
        printf("  %s\n", this_holds ? "the same within tolerance" : "NOT the same");
        hold = hold && this_holds;
    }
    return hold ? STATUS_OK : fail("verify: a case is outside its tolerance");
}

const command command_verify = {
    .name = "verify", .summary = "compare with a record script's own model (parity cases)", .help = help, .run = run};
