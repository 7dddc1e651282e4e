/* Scalars in a file that TensorBoard reads: TFRecords, each an Event of TensorFlow's protocol buffers.
 *
 * A record is u64 length, u32 masked CRC-32C of those 8 bytes, the bytes, u32 masked CRC-32C of the bytes (little-endian;
 * tensorflow/core/lib/io/record_writer.h); masked(c) = (c >>> 15) + 0xA282EAD8. An Event (tensorflow/core/util/event.proto) has wall_time = 1
 * (double), step = 2 (int64) and one of file_version = 3 ("brain.Event:2", the first one), summary = 5, session_log = 7. A
 * Summary has value = 1, each with tag = 1 (string) and simple_value = 2 (float); a SessionLog has status = 1 (START = 1),
 * which says that what other files of the folder have from its step on does not count. */
#ifndef MOEC_TRAIN_EVENT_FILE_H
#define MOEC_TRAIN_EVENT_FILE_H

#include "base/status.h"
#include <stdint.h>

typedef struct event_file event_file;

/* An empty file, whatever was there, that begins at step 0. wall_time: seconds since 1970. */
status event_file_create(event_file **out, const char *path, double wall_time);
/* Put the scalar into the event that event_file_write ends. */
void event_file_add(event_file *f, const char *tag, double value);
/* Nothing where no scalar was put into it. */
status event_file_write(event_file *f, int64_t step, double wall_time);
void event_file_close(event_file *f);

#endif
