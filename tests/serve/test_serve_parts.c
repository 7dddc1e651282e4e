/* Keys, names of hosts, routes, base64 and the page's policy. */
#include "serve/base64.h"
#include "serve/keys.h"
#include "serve/listener.h"
#include "serve/policy.h"
#include "serve/routes.h"
#include "test.h"
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

static char *write_text(const char *folder, const char *text) {
    char *path = path_join(folder, "keys");
    assert_ok(file_write_whole(path, text, strlen(text)));
    return path;
}

static void test_keys(void **state) {
    api_keys k;
    char *path = write_text(*state, "# ours\n\nsk-one\r\nsk-two");
    assert_ok(api_keys_read(&k, path));
    assert_int_equal(k.count, 2);
    assert_true(api_keys_know(&k, "Bearer sk-one"));
    assert_true(api_keys_know(&k, "bearer sk-two"));
    static const char *const wrong[] = {NULL,
                                        "",
                                        "Bearer",
                                        "Bearer ",
                                        "Bearer sk-on",
                                        "Bearer sk-one ",
                                        "Bearer sk-oneX",
                                        "sk-one",
                                        "Basic sk-one",
                                        "Bearer # ours"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) assert_false(api_keys_know(&k, wrong[i]));
    char *large = xmalloc(100000);
    memset(large, 'a', 99999);
    large[99999] = '\0';
    memcpy(large, "Bearer ", 7);
    assert_false(api_keys_know(&k, large));
    free(large);
    api_keys_free(&k);
    free(path);
}

static void test_bad_key_files(void **state) {
    static const char *const bad[][2] = {{"", "found none"},
                                         {"# only this\n\n", "found none"},
                                         {"a\nsk one\n", ":2: "},
                                         {"sk-\xc3\xa9\n", "visible ASCII"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        api_keys k;
        char *path = write_text(*state, bad[i][0]);
        assert_fails(api_keys_read(&k, path), bad[i][1]);
        assert_null(strstr(error_message(), "sk"));
        free(path);
    }
}

static void test_names_of_hosts(void **state) {
    const listener l = {.host = (char *)"my.machine", .loopback = true};
    static const char *const good[] = {NULL,        "localhost",  "LOCALHOST:8080", "127.0.0.1:80",
                                       "127.3.2.1", "[::1]:8080", "my.machine:1"};
    static const char *const bad[] = {"evil.example",
                                      "evil.example:8080",
                                      "localhost.evil.example",
                                      "127.0.0.1.evil.example",
                                      "10.0.0.1",
                                      "[::2]:80",
                                      "",
                                      "[",
                                      "127.0.0.1@evil",
                                      "0.0.0.0"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!listener_is_named(&l, good[i])) fail_msg("%s was refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (listener_is_named(&l, bad[i])) fail_msg("%s was taken", bad[i]);
    assert_true(origin_is_own(NULL, "localhost:8080", NULL));
    assert_true(origin_is_own("http://localhost:8080", "localhost:8080", NULL));
    assert_false(origin_is_own("http://localhost:8081", "localhost:8080", NULL));
    assert_false(origin_is_own("null", "localhost:8080", NULL));
    assert_false(origin_is_own("https://a.example", "localhost:8080", "https://b.example"));
    assert_true(origin_is_own("https://a.example", "localhost:8080", "https://a.example"));
}

static void test_listening(void **state) {
    listener l, other;
    (void)state;
    assert_ok(listener_open(&l, "127.0.0.1", 0));
    assert_true(l.port > 0 && l.loopback);
    assert_fails(listener_open(&other, "127.0.0.1", l.port), "cannot listen: Address already in use");
    assert_int_equal(listener_open(&other, "no such host", 0), STATUS_USAGE);
    assert_fails(listener_open(&other, "192.0.2.1", 0), "192.0.2.1:0: cannot listen");
    listener_close(&l);
    assert_ok(listener_open(&l, "0.0.0.0", 0));
    assert_false(l.loopback);
    listener_close(&l);
}

static void test_routes(void **state) {
    const char *rest, *allow;
    (void)state;
    for (int i = 0; i < route_count; i++) assert_string_equal(routes[i].path, route_names[i]);
    assert_string_equal(routes[route_find("POST", "/v1/chat/completions", &rest, &allow)].path, "/v1/chat/completions");
    assert_string_equal(routes[route_find("HEAD", "/health", &rest, &allow)].path, "/health");
    assert_string_equal(routes[route_find("GET", "/v1/models/a/b", &rest, &allow)].path, "/v1/models/");
    assert_string_equal(rest, "a/b");
    assert_int_equal(route_find("GET", "/v1/completions", &rest, &allow), -1);
    assert_string_equal(allow, "POST");
    static const char *const none[] = {"",           "//",        "/v1",        "/v1/",   "/v1/models/", "/health/",
                                       "/health%00", "/./health", "/../health", "health", "/HEALTH",     "*"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_int_equal(route_find("GET", none[i], &rest, &allow), -1);
        assert_null(allow);
    }
}

static void test_base64(void **state) {
    static const char *const cases[][2] = {
        {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"}};
    (void)state;
    for (int i = 0; i < 5; i++) {
        char *text = base64_encode(cases[i][0], strlen(cases[i][0]));
        assert_string_equal(text, cases[i][1]);
        free(text);
    }
    char *text = base64_floats((float[]){1, -2}, 2);
    assert_string_equal(text, "AACAPwAAAMA=");
    free(text);
}

static void test_policy(void **state) {
    static const char html[] = "<style>a</style><script type=\"module\">b</script><script>";
    (void)state;
    char *text = page_policy_text(html, strlen(html));
    /* printf a | openssl dgst -sha256 -binary | base64 */
    assert_non_null(strstr(text, "style-src 'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs='"));
    assert_non_null(strstr(text, "script-src 'sha256-PiPoFgA5WUoziU9lZOGxNIu9egCI1CxKy3PurtWcAJ0=';"));
    assert_non_null(strstr(text, "default-src 'none'"));
    free(text);
    text = page_policy_text(page_html, page_html_bytes);
    assert_non_null(strstr(text, "'sha256-"));
    assert_null(strstr(text, "unsafe"));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(test_keys),
        in_scratch(test_bad_key_files),
        cmocka_unit_test(test_names_of_hosts),
        cmocka_unit_test(test_listening),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
