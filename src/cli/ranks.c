#include "cli/ranks.h"

#include "base/file.h"
#include "base/progress.h"
#include "kernel/kernel.h"
#include "store/source.h"
#include "train/meeting.h"
#include <string.h>

status cli_ranks_same(comm *ranks, const char *what, uint64_t number) {
    uint64_t first = number;
    if (ranks->ranks == 1) return STATUS_OK;
    TRY(comm_broadcast(ranks, 0, &first, sizeof first));
    return comm_agree(ranks, first == number ? STATUS_OK : fail_usage("another %s than rank 0", what));
}

static status number_of_model(const char *path, const char *which, uint64_t *number) {
    model_source *source;
    TRY(model_source_open(&source, path, which));
    const status s = weight_source_fingerprint(model_source_weights(source), number);
    model_source_close(source);
    return s;
}

status cli_ranks_same_model(comm *ranks, const char *path, const char *which) {
    uint64_t number = 0;
    if (ranks->ranks == 1) return STATUS_OK;
    TRY(comm_agree(ranks, number_of_model(path, which, &number)));
    return cli_ranks_same(ranks, "model", number);
}

status cli_ranks(int argc, char **argv, comm **out) {
    uint64_t arguments = 0;
    TRY(comm_open(out));
    if ((*out)->ranks == 1) return STATUS_OK;
    if ((*out)->rank > 0) progress_keep_quiet();
    TRY(comm_agree(*out, comm_share_cores(*out)));
    for (int i = 0; i < argc; i++) arguments = crc64(arguments, argv[i], strlen(argv[i]) + 1);
    TRY(cli_ranks_same(*out, "build of moec", fact_of_build()));
    TRY(cli_ranks_same(*out, "instruction set (MOEC_ISA)", crc64(0, kernels_isa(), strlen(kernels_isa()))));
    return cli_ranks_same(*out, "command line", arguments);
}
