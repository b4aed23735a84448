/* um_crop_rect and um_detect_auto_scale against the rules of the pipeline. */
#include "src/detect/crop.h"
#include "src/detect/detect.h"
#include "tests/unit/test.h"

static void check(float x0, float y0, float x1, float y1, int w, int h, bool some, int a, int b, int c, int d)
{
    um_rect r;
    float box[4] = {x0, y0, x1, y1};
    bool got = um_crop_rect(box, w, h, &r);
    CHECK(got == some);
    if (some) CHECK(r.x0 == a && r.y0 == b && r.x1 == c && r.y1 == d);
}

int main(void)
{
    check(100.9f, 50.2f, 200.7f, 170.9f, 640, 480, true, 67, 10, 233, 210); /* 100x120: margins 33 and 40 */
    check(-5.9f, -0.5f, 50, 60, 640, 480, true, 0, 0, 68, 80);              /* truncates to -5, 0; 55/3 = 18, 60/3 = 20 */
    check(600, 400, 700, 500, 640, 480, true, 567, 367, 640, 480);
    check(10, 10, 11.9f, 12.9f, 640, 480, true, 10, 10, 11, 12); /* less than 3 px: no margin */
    check(10, 10, 10.9f, 20, 640, 480, false, 0, 0, 0, 0);
    check(700, 10, 720, 30, 640, 480, false, 0, 0, 0, 0);
    check(-50, 10, -30, 30, 640, 480, false, 0, 0, 0, 0);
    check(NAN, 10, INFINITY, 30, 640, 480, false, 0, 0, 0, 0);
    check(0, 10, INFINITY, 30, 640, 480, true, 0, 4, 640, 36);

    CHECK_NEAR(um_detect_auto_scale(299, 200), 2, 0);
    CHECK_NEAR(um_detect_auto_scale(200, 300), 1, 0);
    CHECK_NEAR(um_detect_auto_scale(1000, 562), 1, 0);
    CHECK_NEAR(um_detect_auto_scale(562, 1001), 0.5, 0);
    CHECK_NEAR(um_detect_auto_scale(1900, 1000), 0.5, 0);
    CHECK_NEAR(um_detect_auto_scale(1920, 1080), 0.33, 0);
    return TEST_END();
}
