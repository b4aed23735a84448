#include "io/sniff.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool has(const unsigned char *p, size_t n, size_t at, const char *bytes, size_t len) { return at <= n && n - at >= len && memcmp(p + at, bytes, len) == 0; }
#define HAS(at, literal) has(p, n, (at), (literal), sizeof(literal) - 1)

static bool holds(const unsigned char *p, size_t n, const char *bytes, size_t len) { return n >= len && memmem(p, n, bytes, len) != NULL; }
#define HOLDS(literal) holds(p, n, (literal), sizeof(literal) - 1)

/* ISO/IEC 14496-12 and QuickTime: the first box. Brands of sound (Apple) and of pictures (ISO/IEC 23008-12, AVIF) are left out. */
static bool is_mov(const unsigned char *p, size_t n)
{
    static const char *const other[] = {"M4A ", "M4B ", "heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1", "avif", "crx "};
    static const char *const first[] = {"moov", "mdat", "wide", "pnot", "moof", "styp"};
    if (HAS(4, "ftyp")) {
        for (size_t i = 0; i < sizeof other / sizeof other[0]; i++)
            if (has(p, n, 8, other[i], 4)) return false;
        return n >= 12;
    }
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++)
        if (has(p, n, 4, first[i], 4)) return true;
    return (HAS(4, "free") || HAS(4, "skip")) && (HOLDS("moov") || HOLDS("mdat") || HOLDS("ftyp"));
}

/* ISO/IEC 13818-1: 0x47 each 188 bytes; in .m2ts each packet follows 4 bytes of time. */
static bool is_ts(const unsigned char *p, size_t n)
{
    static const size_t first[] = {0, 4}, step[] = {188, 192};
    for (int kind = 0; kind < 2; kind++) {
        size_t good = 0, at = first[kind];
        while (at < n && p[at] == 0x47) {
            good++;
            at += step[kind];
        }
        if (at >= n && good >= 4) return true;
    }
    return false;
}

bool um_sniff_is_video(const unsigned char *p, size_t n)
{
    if (is_mov(p, n) || is_ts(p, n)) return true;
    if (HAS(0, "\x1a\x45\xdf\xa3")) return HOLDS("matroska") || HOLDS("webm"); /* EBML, DocType */
    if (HAS(0, "RIFF") || HAS(0, "OpenDML")) return HAS(8, "AVI ") || HAS(8, "AVIX");
    if (HAS(0, "FLV\x01")) return n > 4 && (p[4] & 1) != 0; /* it has video */
    if (HAS(0, "OggS")) return HOLDS("\x80theora") || HOLDS("BBCD") || HOLDS("OVP80");
    if (HAS(0, "\x30\x26\xb2\x75\x8e\x66\xcf\x11")) return HOLDS("\xc0\xef\x19\xbc\x4d\x5b\xcf\x11"); /* ASF; a stream of ASF_Video_Media */
    return HAS(0, "\x00\x00\x01\xba") || HAS(0, "\x00\x00\x01\xb3");                                       /* MPEG program stream; video sequence */
}

bool um_sniff_file(const char *path)
{
    unsigned char head[UM_SNIFF_BYTES];
    struct stat s;
    size_t n = 0;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return false;
    bool regular = fstat(fd, &s) == 0 && S_ISREG(s.st_mode);
    while (regular && n < sizeof head) {
        ssize_t r = pread(fd, head + n, sizeof head - n, (off_t)n);
        if (r < 0 && errno == EINTR) continue;
        if (r <= 0) break;
        n += (size_t)r;
    }
    close(fd);
    return regular && um_sniff_is_video(head, n);
}
