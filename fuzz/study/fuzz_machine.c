/* Any bytes as a machine: no crash, and what was understood has times that are times. */
#include "study/machine.h"
#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    machine m;
    if (machine_parse(&m, "input", (const char *)data, size) == STATUS_OK) {
        if (!m.name || m.node_ranks < 1 || m.cards > m.node_ranks) abort();
        const double times[] = {machine_product_seconds(&m, m.node_ranks, 1e9, 100, 100),
                                machine_memory_seconds(&m, m.node_ranks, 1e6), machine_kernel_seconds(&m, 10),
                                machine_port_seconds(&m.inside, 1e3), machine_port_seconds(&m.between, 1e3)};
        for (size_t i = 0; i < sizeof times / sizeof *times; i++)
            if (!isfinite(times[i]) || times[i] < 0) abort();
    }
    machine_free(&m);
    return 0;
}
