#include "src/models/mtcnn.h"

#include <stdlib.h>

/* facenet-pytorch 2.5/2.6, the state dicts of PNet, RNet and ONet, in their order. */
const um_mtcnn_tensor um_mtcnn_tensors[UM_MTCNN_TENSORS] = {
    {"pnet.conv1.weight", {10, 3, 3, 3}},
    {"pnet.conv1.bias", {10, 0, 0, 0}},
    {"pnet.prelu1.weight", {10, 0, 0, 0}},
    {"pnet.conv2.weight", {16, 10, 3, 3}},
    {"pnet.conv2.bias", {16, 0, 0, 0}},
    {"pnet.prelu2.weight", {16, 0, 0, 0}},
    {"pnet.conv3.weight", {32, 16, 3, 3}},
    {"pnet.conv3.bias", {32, 0, 0, 0}},
    {"pnet.prelu3.weight", {32, 0, 0, 0}},
    {"pnet.conv4_1.weight", {2, 32, 1, 1}},
    {"pnet.conv4_1.bias", {2, 0, 0, 0}},
    {"pnet.conv4_2.weight", {4, 32, 1, 1}},
    {"pnet.conv4_2.bias", {4, 0, 0, 0}},
    {"rnet.conv1.weight", {28, 3, 3, 3}},
    {"rnet.conv1.bias", {28, 0, 0, 0}},
    {"rnet.prelu1.weight", {28, 0, 0, 0}},
    {"rnet.conv2.weight", {48, 28, 3, 3}},
    {"rnet.conv2.bias", {48, 0, 0, 0}},
    {"rnet.prelu2.weight", {48, 0, 0, 0}},
    {"rnet.conv3.weight", {64, 48, 2, 2}},
    {"rnet.conv3.bias", {64, 0, 0, 0}},
    {"rnet.prelu3.weight", {64, 0, 0, 0}},
    {"rnet.dense4.weight", {128, 576, 0, 0}},
    {"rnet.dense4.bias", {128, 0, 0, 0}},
    {"rnet.prelu4.weight", {128, 0, 0, 0}},
    {"rnet.dense5_1.weight", {2, 128, 0, 0}},
    {"rnet.dense5_1.bias", {2, 0, 0, 0}},
    {"rnet.dense5_2.weight", {4, 128, 0, 0}},
    {"rnet.dense5_2.bias", {4, 0, 0, 0}},
    {"onet.conv1.weight", {32, 3, 3, 3}},
    {"onet.conv1.bias", {32, 0, 0, 0}},
    {"onet.prelu1.weight", {32, 0, 0, 0}},
    {"onet.conv2.weight", {64, 32, 3, 3}},
    {"onet.conv2.bias", {64, 0, 0, 0}},
    {"onet.prelu2.weight", {64, 0, 0, 0}},
    {"onet.conv3.weight", {64, 64, 3, 3}},
    {"onet.conv3.bias", {64, 0, 0, 0}},
    {"onet.prelu3.weight", {64, 0, 0, 0}},
    {"onet.conv4.weight", {128, 64, 2, 2}},
    {"onet.conv4.bias", {128, 0, 0, 0}},
    {"onet.prelu4.weight", {128, 0, 0, 0}},
    {"onet.dense5.weight", {256, 1152, 0, 0}},
    {"onet.dense5.bias", {256, 0, 0, 0}},
    {"onet.prelu5.weight", {256, 0, 0, 0}},
    {"onet.dense6_1.weight", {2, 256, 0, 0}},
    {"onet.dense6_1.bias", {2, 0, 0, 0}},
    {"onet.dense6_2.weight", {4, 256, 0, 0}},
    {"onet.dense6_2.bias", {4, 0, 0, 0}},
    {"onet.dense6_3.weight", {10, 256, 0, 0}},
    {"onet.dense6_3.bias", {10, 0, 0, 0}},
};

size_t um_mtcnn_tensor_count(int i)
{
    size_t n = 1;
    for (int d = 0; d < 4 && um_mtcnn_tensors[i].dims[d] > 0; d++) n *= (size_t)um_mtcnn_tensors[i].dims[d];
    return n;
}

void um_mtcnn_weights_release(um_mtcnn_weights *w)
{
    for (int i = 0; i < UM_MTCNN_TENSORS; i++) {
        free(w->data[i]);
        w->data[i] = NULL;
    }
}
