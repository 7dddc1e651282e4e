/* Measures of a table [D, E]: how many tokens (or documents) of domain d went to expert e. Counts may be parts of tokens, as gates
 * make them. p_d(e) = n_de / n_d, n_d = Σ_e n_de. A domain without tokens is left out of every measure. */
#ifndef MOEC_EVAL_ROUTING_MEASURES_H
#define MOEC_EVAL_ROUTING_MEASURES_H

typedef struct routing_table {
    int domains, experts;
    double *count; /* [D, E] */
} routing_table;

routing_table routing_table_create(int domains, int experts); /* of 0 */
void routing_table_free(routing_table *t);
double routing_table_domain(const routing_table *t, int domain);            /* n_d */
double routing_table_total(const routing_table *t);                         /* N */
double routing_table_share(const routing_table *t, int domain, int expert); /* p_d(e); 0 for a domain without tokens */

/* The mean over pairs of domains of the total variation ½ Σ_e |p_a(e) − p_b(e)|: 0, all domains are routed alike, to 1, no two share
 * an expert. 0 of fewer than two domains. */
double routing_separation(const routing_table *t);

/* Of each expert, the largest over the smallest of its shares of the domains: 1 where an expert is for all domains alike. To each
 * share one token of the smallest domain is added, ε = 1 / min_d n_d, (max_d p_d(e) + ε) / (min_d p_d(e) + ε): where a domain never
 * uses an expert the contrast is large, not infinite, and that of an expert that nobody uses is 1. */
typedef struct routing_contrast {
    double mean, largest;
    int expert; /* that has the largest */
} routing_contrast;
routing_contrast routing_contrast_of(const routing_table *t);

/* Bits. I = Σ_de (n_de / N) log2(n_de N / (n_d n_e)) ≤ min(H(domain), log2 E). */
double routing_information(const routing_table *t);
double routing_information_bound(const routing_table *t); /* min(H(domain), log2 E) */
double routing_expert_entropy(const routing_table *t);    /* H(expert), of all tokens together */

/* expert [D]: which expert a domain should go to, −1: none, and the domain is left out. */
typedef struct routing_accuracy {
    double tokens; /* Σ_d n_d,expert(d) / Σ_d n_d */
    double
        domains; /* the mean over domains of p_d(expert(d)): at most 1 / D where all D are routed alike to different experts */
} routing_accuracy;
routing_accuracy routing_accuracy_of(const routing_table *t, const int *expert); /* 0 where no domain has an expert */
/* A different expert for each domain, so that `domains` above is largest; −1 for a domain without tokens, and for those that
 * get none because there are more domains than experts. */
void routing_best_experts(const routing_table *t, int *expert);

#endif
