/* A configuration of a zoo: what config/ knows of keys it knows from tables alone. */
#ifndef MOEC_TESTS_CONFIG_TOY_H
#define MOEC_TESTS_CONFIG_TOY_H

#include "test.h"

#include "config/load.h"
#include "config/records.h"
#include "config/write.h"

enum { TOY_CAGES = 8, TOY_VISITS = 3 };

typedef struct toy_animals {
    int lions;
    float hunger;
    char *keeper;
    bool cages[TOY_CAGES];
} toy_animals;

typedef enum toy_kind { TOY_SCHOOL, TOY_FAMILY } toy_kind;
typedef struct toy_visit {
    toy_kind kind;
    double hour, before; /* one of them counts */
    int children;
} toy_visit;
typedef struct toy_visits {
    toy_visit items[TOY_VISITS];
    int count;
} toy_visits;

typedef struct toy_doors {
    bool doors; /* the key has the section's name */
    int64_t width;
} toy_doors;

typedef struct toy {
    toy_animals animals;
    toy_doors doors;
    toy_visits visits;
} toy;

static const config_field toy_animal_fields[] = {
    CONFIG_FIELD(toy_animals, "lions", FIELD_INT, lions, 0, 9, NULL, "how many"),
    CONFIG_FIELD(toy_animals, "hunger", FIELD_FLOAT, hunger, 0, 1, NULL, "of the lions"),
    CONFIG_FIELD_CHANGE(toy_animals, "keeper", FIELD_STRING, keeper, 0, 0, NULL, CHANGE_HARMLESS, "who feeds them"),
    CONFIG_FIELD(toy_animals, "cages", FIELD_SET, cages, 0, TOY_CAGES - 1, NULL, "that are used"),
};
static const foreign_key toy_foreign[] = {
    {"num_lions", "lions", NULL},
    {"appetite", "hunger", "of the lions"},
    {"tiger*", NULL, "this zoo has no tigers"},
};
static const config_section toy_animal_section = {"animals", TABLE_AND_COUNT(toy_animal_fields),
                                                  TABLE_AND_COUNT(toy_foreign)};

static const config_field toy_door_fields[] = {
    CONFIG_FIELD(toy_doors, "doors", FIELD_BOOL, doors, 0, 0, NULL, "whether there are any"),
    CONFIG_FIELD_CHANGE(toy_doors, "width", FIELD_INT64, width, 1, 4, NULL, CHANGE_GROWS, "metres"),
};
static const config_section toy_door_section = {"doors", TABLE_AND_COUNT(toy_door_fields), NULL, 0};

enum { TOY_WHO, TOY_HOUR, TOY_BEFORE, TOY_CHILDREN, TOY_KEYS };
static const char *const toy_kind_names[] = {"school", "family", NULL};
static const config_field toy_visit_fields[TOY_KEYS] = {
    [TOY_WHO] = CONFIG_FIELD(toy_visit, "who", FIELD_CHOICE, kind, 0, 0, toy_kind_names, "comes"),
    [TOY_HOUR] = CONFIG_FIELD(toy_visit, "hour", FIELD_DOUBLE, hour, 0, 24, NULL, "of the visit"),
    [TOY_BEFORE] = CONFIG_FIELD(toy_visit, "before", FIELD_DOUBLE, before, 0.5, 24, NULL, "instead: some time before"),
    [TOY_CHILDREN] = CONFIG_FIELD(toy_visit, "children", FIELD_INT, children, 1, 99, NULL, "of a school"),
};
static const record_kind toy_kinds[] = {
    [TOY_SCHOOL] = {.one_of = 1 << TOY_HOUR, .needs = 1 << TOY_CHILDREN},
    [TOY_FAMILY] = {.one_of = 1 << TOY_HOUR | 1 << TOY_BEFORE, .may = 1 << TOY_CHILDREN},
};
static const toy_visit toy_fresh = {.children = 2};
static const record_list toy_records = {
    .one = "visit",
    .example = "{hour: 10, who: family}",
    .forms = "{hour: H, who: school, children: N}",
    .fields = toy_visit_fields,
    .field_count = TOY_KEYS,
    .tag = TOY_WHO,
    .kinds = toy_kinds,
    .fresh = &toy_fresh,
    .bytes = sizeof(toy_visit),
    .most = TOY_VISITS,
    .count_offset = offsetof(toy_visits, count),
};
static const config_field toy_visits_field[] = {{.key = "visits",
                                                 .type = FIELD_RECORDS,
                                                 .offset = offsetof(toy_visits, items),
                                                 .meaning = "who comes",
                                                 .records = &toy_records}};
static const config_section toy_visit_section = {"visits", TABLE_AND_COUNT(toy_visits_field), NULL, 0};

static const config_part toy_parts[] = {{&toy_animal_section, offsetof(toy, animals)},
                                        {&toy_door_section, offsetof(toy, doors)},
                                        {&toy_visit_section, offsetof(toy, visits)}};
static const config_schema toy_schema = {TABLE_AND_COUNT(toy_parts)};

static inline toy toy_default(void) {
    return (toy){.animals = {.lions = 2, .hunger = 0.5f}, .doors = {.width = 2}};
}

static inline status toy_parse(toy *t, const char *yaml) {
    return config_parse(&toy_schema, t, "z.yaml", yaml, strlen(yaml));
}

#endif
