/* Any bytes as a YAML text: a tree within its bounds that reads back from one line, or a message with the text's name. */
#include "config/yaml.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void require(bool condition) {
    if (!condition) abort();
}

static int count(const yaml_node *node, int depth) {
    int nodes = 1;
    require(depth <= YAML_MAX_DEPTH && (node->kind == YAML_SCALAR) == (node->text != NULL));
    for (const yaml_node *child = node->first; child; child = child->next) {
        nodes += count(child, depth + 1);
        if (node->kind == YAML_MAPPING) nodes += count(child->value, depth + 1);
    }
    return nodes;
}

static char *on_one_line(const yaml_node *node) {
    char *line;
    size_t bytes;
    FILE *out = open_memstream(&line, &bytes);
    yaml_write_value(out, node);
    fclose(out);
    return line;
}

/* libyaml takes keys of up to 1024 characters; a shorter line has no longer one. */
static void read_again(const yaml_node *root) {
    char *first = on_one_line(root);
    if (strlen(first) < 1024) {
        yaml_document d;
        require(yaml_read(&d, "written", false, first, strlen(first)) == STATUS_OK);
        char *second = on_one_line(d.root);
        require(strcmp(first, second) == 0);
        free(second);
        yaml_close(&d);
    }
    free(first);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    yaml_document d;
    if (yaml_read(&d, "input", true, (const char *)bytes, size) != STATUS_OK) {
        require(strncmp(error_message(), "input:", 6) == 0);
    } else if (d.root) {
        require(count(d.root, 0) <= YAML_MAX_NODES);
        if (d.root->kind != YAML_SCALAR) read_again(d.root);
    }
    yaml_close(&d);
    return 0;
}
