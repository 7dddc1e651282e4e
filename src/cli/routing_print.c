#include "cli/routing_print.h"
#include <math.h>
#include <stdio.h>

void routing_print(const routing_probe *p, const char *name) {
    int count;
    const routing_row *rows = routing_probe_rows(p, &count);
    if (count == 0) return;
    const int experts = rows[0].experts;
    printf("\nrouting of %lld tokens (%s): tokens per expert in %%, router entropy of at most %.3f nats\n\n",
           (long long)rows[0].tokens, name, log(experts));
    printf("%-14s %5s %8s ", "layer", "pass", "entropy");
    for (int e = 0; e < experts; e++) printf(" %6d", e);
    putchar('\n');
    for (int i = 0; i < count; i++) {
        double tokens = rows[i].tokens > 0 ? (double)rows[i].tokens : 1;
        char layer[32];
        snprintf(layer, sizeof layer, "blocks.%d.mlp", rows[i].layer);
        printf("%-14s %5d %8.4f ", layer, rows[i].pass, rows[i].entropy / tokens);
        for (int e = 0; e < experts; e++) printf(" %6.2f", 100 * (double)rows[i].taken[e] / tokens);
        putchar('\n');
    }
}

void routing_to_json(const routing_probe *p, cJSON *root) {
    int count;
    const routing_row *rows = routing_probe_rows(p, &count);
    cJSON *list = cJSON_AddArrayToObject(root, "routing");
    for (int i = 0; i < count; i++) {
        cJSON *row = cJSON_CreateObject();
        cJSON_AddNumberToObject(row, "layer", rows[i].layer);
        cJSON_AddNumberToObject(row, "pass", rows[i].pass);
        cJSON_AddNumberToObject(row, "tokens", (double)rows[i].tokens);
        cJSON_AddNumberToObject(row, "entropy", rows[i].tokens ? rows[i].entropy / (double)rows[i].tokens : 0);
        cJSON *taken = cJSON_AddArrayToObject(row, "taken");
        for (int e = 0; e < rows[i].experts; e++)
            cJSON_AddItemToArray(taken, cJSON_CreateNumber((double)rows[i].taken[e]));
        cJSON_AddItemToArray(list, row);
    }
}
