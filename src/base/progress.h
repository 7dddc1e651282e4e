/* What long work shows: one line that is rewritten on a terminal, and a plain line every few seconds elsewhere. */
#ifndef MOEC_BASE_PROGRESS_H
#define MOEC_BASE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct progress {
    const char *what; /* "train", "evaluate", ... shown in front */
    double started;   /* seconds, clock_seconds() */
    double last_shown;
    bool terminal; /* stderr is one */
} progress;

progress progress_start(const char *what);
/* fraction in [0, 1]; detail is the speed or the loss, already formatted. Prints at most ten times a second on a
 * terminal and every ten seconds elsewhere, with elapsed time and time left. */
void progress_show(progress *p, double fraction, const char *detail);
void progress_end(progress *p, const char *detail); /* the last line stays */
void progress_clear(progress *p);                   /* or goes from the terminal */
void progress_keep_quiet(void);                     /* from now on this process shows none: another one does */

double clock_seconds(void); /* monotonic */
double time_of_day(void);   /* seconds since 1970 */
bool color_enabled(int fd); /* a terminal, and NO_COLOR is unset */

/* Ctrl-C, SIGTERM and SIGUSR1 (which Slurm sends before a limit) set a flag that long loops look at; a second one kills as usual. */
void interrupt_catch(void);
/* From now on the first one writes this line to stderr at once, in a process that shows progress: what is under way may take minutes.
 * NULL: nothing any more. */
void interrupt_announce(const char *line);
bool interrupt_requested(void);
/* What Ctrl-C ended has ended: the next one sets the flag again, and is not the second. */
void interrupt_forget(void);

#endif
