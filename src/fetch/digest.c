#include "fetch/digest.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { DIGEST_PIECE = 1 << 20 };

static EVP_MD_CTX *begin(digest_kind kind, uint64_t size) {
    char header[40];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (!context || !EVP_DigestInit_ex(context, kind == DIGEST_SHA256 ? EVP_sha256() : EVP_sha1(), NULL)) memory_out(1);
    int length = snprintf(header, sizeof header, "blob %llu", (unsigned long long)size) + 1;
    if (kind == DIGEST_GIT_BLOB) EVP_DigestUpdate(context, header, (size_t)length);
    return context;
}

static void end(EVP_MD_CTX *context, char hex[DIGEST_HEX]) {
    unsigned char value[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    EVP_DigestFinal_ex(context, value, &length);
    EVP_MD_CTX_free(context);
    for (unsigned i = 0; i < length && i < (DIGEST_HEX - 1) / 2; i++) sprintf(hex + 2 * i, "%02x", value[i]);
}

void digest_bytes(const void *bytes, size_t count, digest_kind kind, char hex[DIGEST_HEX]) {
    EVP_MD_CTX *context = begin(kind, count);
    EVP_DigestUpdate(context, bytes, count);
    end(context, hex);
}

status digest_file(const char *path, digest_kind kind, char hex[DIGEST_HEX]) {
    FILE *file;
    struct stat about;
    TRY(file_open_stream(path, O_RDONLY, "rb", &file));
    if (fstat(fileno(file), &about) != 0) about.st_size = 0;
    EVP_MD_CTX *context = begin(kind, (uint64_t)about.st_size);
    char *piece = xmalloc(DIGEST_PIECE);
    size_t count;
    while (!interrupt_requested() && (count = fread(piece, 1, DIGEST_PIECE, file)) > 0)
        EVP_DigestUpdate(context, piece, count);
    end(context, hex);
    status s = interrupt_requested() ? (fail("%s: interrupted", path), STATUS_INTERRUPTED)
               : ferror(file)        ? fail("%s: cannot read: %m", path)
                                     : STATUS_OK;
    free(piece);
    fclose(file);
    return s;
}
