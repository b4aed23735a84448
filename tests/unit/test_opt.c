/* opt: the table is parser, help and configuration. */
#include "src/core/frames.h"
#include "src/core/opt.h"
#include "tests/unit/test.h"

typedef struct opts {
    bool landmarks;
    int64_t count;
    double scale, thresholds[3];
    const char *detector, *format;
    um_texts list;
    unsigned stages;
    um_frames frames;
    int size[2];
} opts;

static const um_opt table[] = {
    {"landmarks", 0, UM_OPT_FLAG, offsetof(opts, landmarks), NULL, NULL, .help = "points too"},
    {"count", 'n', UM_OPT_INT, offsetof(opts, count), "3", "N", 1, 10, .help = "how many"},
    {"scale", 0, UM_OPT_REAL, offsetof(opts, scale), "auto", "auto|FACTOR", 0.01, 8, .choices = "auto", .flags = UM_OPT_FROZEN, .help = "factor"},
    {"thresholds", 0, UM_OPT_REALS3, offsetof(opts, thresholds), ".7,.8,.8", "P,R,O", 0, 1, .flags = UM_OPT_FROZEN, .help = "thresholds"},
    {"detector", 0, UM_OPT_TEXT, offsetof(opts, detector), NULL, "FILE", .help = "weights"},
    {"format", 0, UM_OPT_CHOICE, offsetof(opts, format), "png", NULL, .choices = "png|jpeg|raw", .help = "format"},
    {"m", 'm', UM_OPT_TEXTS, offsetof(opts, list), NULL, "FILE", .help = "models"},
    {"stages", 0, UM_OPT_SET, offsetof(opts, stages), "detect,crops", NULL, .choices = "detect|crops|masks", .help = "stages"},
    {"frames", 0, UM_OPT_FRAMES, offsetof(opts, frames), "every:10", "SPEC", .flags = UM_OPT_FROZEN, .help = "frames"},
    {"size", 0, UM_OPT_SIZE, offsetof(opts, size), "640x480", "WxH", .help = "size"},
    {"store.seal_mb", 0, UM_OPT_INT, offsetof(opts, count), NULL, "MB", .flags = UM_OPT_SET_ONLY, .help = "size of a shard"},
    {NULL},
};

static um_status parse(opts *o, um_texts *operands, int n, const char *const *argv)
{
    um_opt_common common = {0};
    *o = (opts){0};
    um_texts_release(operands);
    return um_opt_parse(table, n, argv, o, operands, &common);
}

#define PARSE(...) parse(&o, &rest, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), (const char *[]){__VA_ARGS__})

int main(void)
{
    opts o;
    um_texts rest = {0};
    um_buf b = {0};
    CHECK_OK(PARSE("a.mp4", "--landmarks", "--count=7", "--thresholds", ".85,.95,.95", "-m", "x", "-my", "--set", "format=raw", "--", "--odd"));
    CHECK(o.landmarks && o.count == 7 && o.scale == 0 && o.thresholds[2] == .95 && o.list.n == 2 && o.stages == 3 && o.size[1] == 480);
    CHECK_STR(o.format, "raw");
    CHECK_INT(rest.n, 2);
    CHECK_STR(rest.text[1], "--odd");
    CHECK_OK(um_opt_config(table, &o, UM_OPT_FROZEN, true, &b));
    CHECK_STR((char *)b.data, "{\"frames\": \"every:10\", \"scale\": \"auto\", \"thresholds\": \"0.85,0.95,0.95\"}");
    um_opt_release(table, &o);
    CHECK_OK(PARSE("--no-landmarks", "--scale", "0.5", "--stages", "masks", "--size", "2x3"));
    CHECK(!o.landmarks && o.scale == .5 && o.stages == 4 && o.size[0] == 2);

    CHECK_INT(PARSE("--landmark"), UM_USAGE);
    CHECK_STR(um_err_text(), "unknown option 'landmark'; did you mean landmarks?");
    CHECK_INT(PARSE("--set", "store.seal_md=3"), UM_USAGE);
    CHECK(strstr(um_err_text(), "store.seal_mb") != NULL);
    CHECK_INT(PARSE("--count", "11"), UM_USAGE);
    CHECK_INT(PARSE("--count", "1x"), UM_USAGE);
    CHECK_INT(PARSE("--count"), UM_USAGE);
    CHECK_INT(PARSE("--thresholds", ".1,.2"), UM_USAGE);
    CHECK_INT(PARSE("--thresholds", ".1,.2,.3,.4"), UM_USAGE);
    CHECK_INT(PARSE("--thresholds", ".1,.2,nan"), UM_USAGE);
    CHECK_INT(PARSE("--stages", "detect,"), UM_USAGE);
    CHECK_INT(PARSE("--format", "bmp"), UM_USAGE);
    CHECK_INT(PARSE("--size", "3"), UM_USAGE);
    CHECK_INT(PARSE("--landmarks=1"), UM_USAGE);
    CHECK_INT(PARSE("--store.seal_mb", "1"), UM_USAGE);
    um_buf_clear(&b);
    CHECK_OK(um_opt_help(table, &b));
    for (const um_opt *row = table; row->key != NULL; row++) CHECK(strstr((char *)b.data, row->key) != NULL && strstr((char *)b.data, row->help) != NULL);
    um_buf_release(&b);
    um_texts_release(&rest);
    return TEST_END();
}
