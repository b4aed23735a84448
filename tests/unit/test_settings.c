/* settings: a JSON configuration as key=value texts. */
#include "io/settings.h"
#include "tests/unit/test.h"

static void check(const char *json, const char *const *want, int n)
{
    um_names got = {0};
    CHECK_OK(um_settings_parse(json, strlen(json), &got));
    CHECK_INT(got.n, n);
    for (int i = 0; i < n && i < got.n; i++) CHECK_STR(got.name[i], want[i]);
    um_names_release(&got);
}

static void refused(const char *json, const char *word)
{
    um_names got = {0};
    CHECK_INT(um_settings_parse(json, strlen(json), &got), UM_CONFIG);
    if (strstr(um_err_text(), word) == NULL) fprintf(stderr, "%s: %s\n", json, um_err_text());
    CHECK(strstr(um_err_text(), word) != NULL);
    um_names_release(&got);
}

int main(void)
{
    static const char *const reference[] = {"network=DeepFakeClassifier", "size=380", "fp16=true", "optimizer.weight_decay=0.0001", "optimizer.schedule.mode=step", "optimizer.schedule.params.max_iter=100500",
                                            "normalize.mean=0.485,0.456,0.406", "losses.BinaryCrossentropy=1"};
    check("{\"network\": \"DeepFakeClassifier\", \"size\": 380, \"fp16\": true, \"optimizer\": {\"weight_decay\": 1e-4, \"schedule\": {\"mode\": \"step\", \"params\": {\"max_iter\": 100500}}},"
          " \"normalize\": {\"mean\": [0.485, 0.456, 0.406]}, \"losses\": {\"BinaryCrossentropy\": 1}}",
          reference, 8);
    static const char *const lists[] = {"s=0:0.1,5:0.01", "e=", "m=true,x,3"};
    check("{\"s\": [[0, 0.1], [5, 0.01]], \"e\": [], \"o\": {}, \"m\": [true, \"x\", 3]}", lists, 3);
    check("{}", NULL, 0);
    refused("{\"a\": 1,\n\"b\": }", "line 2");
    refused("[1]", "object");
    refused("{\"a\": null}", "'a'");
    refused("{\"a\": [{\"b\": 1}]}", "'a'");
    refused("{\"a\": 1, \"a\": 2}", "line");
    refused("{\"a=b\": 1}", "key");
    refused("{\"a\": [[[1]]]}", "lists");
    um_names got = {0};
    CHECK_INT(um_settings_read(um_vfs_real(), "/nonexistent/x.json", &got), UM_CONFIG);
    um_names_release(&got);
    return TEST_END();
}
