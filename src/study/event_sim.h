/* A discrete-event simulation: tasks that wait for other tasks and hold resources for a while. It knows nothing of what they stand for.
 *
 * A task begins when all tasks that it waits for are done and all of its resources have a free server; of those that wait for a resource
 * the one that could have begun first has it, and of two that could have begun together the one that was made first. It holds its
 * resources for `seconds`; those that wait for it may begin `latency` behind that. So with one port out of and one into each process as
 * resources, a message is LogGP's (Alexandrov et al. 1995): o + bytes · G hold both ports, L passes before the receiver has it; with
 * α = o + L, β = G a chain of messages takes what the α–β model of Thakur, Rabenseifner and Gropp (2005) says.
 *
 *     simulation *s = simulation_create();
 *     const int port = simulation_resource(s, 1);
 *     const int first = simulation_task(s, 2, 0.5, &port, 1), second = simulation_task(s, 1, 0, NULL, 0);
 *     simulation_after(s, second, first);
 *     TRY(simulation_run(s));                   // simulation_done(s, second) == 3.5 */
#ifndef MOEC_STUDY_EVENT_SIM_H
#define MOEC_STUDY_EVENT_SIM_H

#include "base/status.h"
#include <stdint.h>

enum { SIMULATION_MOST_RESOURCES = 4 }; /* of one task */

typedef struct simulation simulation;
simulation *simulation_create(void);
void simulation_destroy(simulation *s); /* NULL is fine */
/* Something that so many tasks can hold at a time. */
int simulation_resource(simulation *s, int servers);
int simulation_task(simulation *s, double seconds, double latency, const int *resources, int count);
/* earlier −1: nothing to wait for. */
void simulation_after(simulation *s, int task, int earlier);
/* A task behind both, either of which may be −1. */
int simulation_join(simulation *s, int one, int other);
int *simulation_nothing(int count); /* so many times −1; the caller's */
int simulation_tasks(const simulation *s);
/* All of them; once. A circle of tasks that wait for each other is an error. */
status simulation_run(simulation *s);
double simulation_begun(const simulation *s, int task);
double simulation_done(const simulation *s, int task); /* its latency is over */
double simulation_end(const simulation *s);            /* of all tasks */

#endif
