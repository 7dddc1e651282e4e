#include "cli/bench_machine.h"

#include "cli/cli.h"
#include "comm/comm.h"
#include "study/bench_machine.h"
#include "study/table.h"
#include <stdio.h>

static void print_messages(const char *between, const message_times *t) {
    if (!t->found) return;
    printf("\nmessages between %s: %.1f us each beside others, %.1f us more until it is there, %.2f GB/s\n\n", between,
           1e6 * t->link.overhead, 1e6 * t->link.latency, t->link.rate / 1e9);
    table rows = table_create(3);
    table_put(&rows, "bytes");
    table_put(&rows, "us");
    table_put(&rows, "GB/s");
    for (int i = 0; i < MESSAGE_SIZES; i++) {
        table_put(&rows, "%.0f", t->bytes[i]);
        table_put(&rows, "%.1f", 1e6 * t->seconds[i]);
        table_put(&rows, "%.3f", t->bytes[i] / t->seconds[i] / 1e9);
    }
    table_print(&rows, stdout);
}

static void print_bench(const machine_bench *b) {
    const machine *m = &b->found;
    printf("%s\n  products  %8.1f GFLOP/s\n  updates   %8.1f GFLOP/s in Newton-Schulz\n  memory    %8.1f GB/s read\n  "
           "a kernel  %8.1f us before it does anything\n",
           m->name, m->products / 1e9, m->updates / 1e9, m->memory_rate / 1e9, 1e6 * m->kernel_seconds);
    print_messages("two ranks of one machine", &b->inside);
    print_messages("two machines", &b->between);
}

status bench_machine_command(int argc, char **argv) {
    const kernels *k;
    machine_bench b;
    long long mebibytes = 512;
    const char *out = cli_option(&argc, argv, "-o");
    TRY(cli_device(&argc, argv, NULL, &k));
    TRY(cli_integer("--bandwidth", cli_option(&argc, argv, "--bandwidth"), 1, 1 << 20, &mebibytes));
    TRY(cli_rest(argc, argv, 1, 1, "moec bench machine [-o FILE] [--bandwidth N]"));
    status s = bench_machine(k, (int64_t)mebibytes << 20, &b);
    if (s == STATUS_OK && comm_speaks(STATUS_OK)) {
        print_bench(&b);
        if (out) s = machine_write(&b.found, out);
        if (s == STATUS_OK && out) cli_results("%s", out);
    }
    machine_free(&b.found);
    return s;
}
