/* What the server's files share: server.c (its life), exchange.c (one request over HTTP), clients.c (its connections and
 * their deadlines). */
#ifndef MOEC_SERVE_SERVER_PARTS_H
#define MOEC_SERVE_SERVER_PARTS_H

#include "serve/call.h"
#include "serve/request_log.h"
#include "serve/routes.h"
#include "serve/server.h"
#include <microhttpd.h>
#include <pthread.h>

/* ---- connections ---- */

typedef enum client_phase {
    CLIENT_IDLE,    /* between requests, or in the head of one */
    CLIENT_READING, /* a head is here, a body still comes */
    CLIENT_ANSWERED /* is waited for, not waiting */
} client_phase;

typedef struct client {
    struct server *server;
    struct client *prev, *next;
    int socket;
    client_phase phase;
    double since; /* clock_seconds() of the phase's beginning */
    bool cut;
    bool too_slow; /* and told so: its request did not come in whole */
} client;

typedef struct clients {
    pthread_mutex_t lock;
    client *first;
    atomic_int count;
} clients;

void client_enter(client *c, client_phase phase);
bool client_was_too_slow(client *c);
bool client_has_left(void *client); /* its end of the connection is closed, at least for sending */
/* MHD's callback: a connection opens or closes. */
void clients_notice(void *server, struct MHD_Connection *connection, void **context,
                    enum MHD_ConnectionNotificationCode code);
/* Cuts off those that are too slow; a request that does not come in whole is told so. */
void clients_look(struct server *s);

/* ---- the server ---- */

struct server {
    struct MHD_Daemon *daemon;
    listener listener;
    served *served;
    const api_keys *keys;
    char *allowed_origin;
    size_t body_bytes;
    int connections, request_seconds, idle_seconds;
    char *page_policy; /* Content-Security-Policy of the page */
    traffic *traffic;
    metrics *metrics;
    request_log *log;
    call_house house;
    atomic_bool stopping, cut;
    atomic_int active; /* requests whose head has come and whose answer is not out */
    clients clients;
    pthread_t watcher;
    bool watching;
    pthread_mutex_t lock; /* of `ended` */
    pthread_cond_t changed;
    bool ended;
};

/* MHD's callbacks for one request. */
enum MHD_Result exchange_handle(void *server, struct MHD_Connection *connection, const char *path, const char *method,
                                const char *version, const char *upload, size_t *upload_bytes, void **context);
void exchange_completed(void *server, struct MHD_Connection *connection, void **context,
                        enum MHD_RequestTerminationCode code);

#endif
