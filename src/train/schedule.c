/* Rates and events as functions of the fraction of the training that is done (#2102's schedules). */
#include "train/schedule.h"
#include <math.h>

double schedule_fraction(const train_config *c, int64_t step, double seconds) {
    double by_steps = c->steps > 0 ? (double)step / (double)c->steps : 0;
    double by_clock = c->max_seconds > 0 ? seconds / c->max_seconds : 0;
    return c->steps > 0 || c->max_seconds > 0 ? fmin(fmax(by_steps, by_clock), 1) : 1;
}

double schedule_warmdown(const optimizer_config *c, double fraction) {
    if (c->warmdown_frac <= 0) return 1;
    double progress = (fraction - (1 - c->warmdown_frac)) / c->warmdown_frac;
    if (progress <= 0) return 1;
    if (c->warmdown_shape == WARMDOWN_COSINE) return c->min_lr + (1 - c->min_lr) * (1 + cos(M_PI * progress)) / 2;
    return fmax(1 - progress, c->min_lr);
}

double schedule_lr_factor(const train_config *t, const optimizer_config *o, double fraction) {
    double warmup = 1;
    if (o->warmup_frac > 0) {
        /* Where steps are counted the warm-up is taken at the end of the step, so that the first one moves too. */
        double step = t->steps <= 0 ? 0 : 1 / (double)t->steps;
        warmup = fmin((fraction + step) / o->warmup_frac, 1);
    }
    return fmin(warmup, schedule_warmdown(o, fraction));
}

double schedule_momentum(const optimizer_config *c, int64_t step) {
    if (c->muon_momentum_warmup_steps <= 0) return c->muon_momentum;
    double f = fmin((double)step / (double)c->muon_momentum_warmup_steps, 1);
    return (1 - f) * c->muon_momentum_warmup_start + f * c->muon_momentum;
}

bool schedule_due(const event *e, double fraction, double warmdown) {
    return e->below_lr > 0 ? warmdown < e->below_lr : fraction >= e->at;
}

double schedule_average_start(const average_config *a, const optimizer_config *o) {
    double start = a->kind == AVERAGE_SWA ? a->swa_start : a->ema_start;
    return start == START_AT_WARMDOWN ? 1 - o->warmdown_frac : start;
}
