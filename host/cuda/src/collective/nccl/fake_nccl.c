/* What weir calls of NCCL, over memory of the host: a sum of f32 waits for all devices, as on GPUs. Heads as in nccl.h. */
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 8, LONGEST = 64 };

typedef struct { int rank; } *ncclComm_t;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int devices, came, went, aborted;
static float total[LONGEST];

int ncclCommInitAll(ncclComm_t *comm, int ndev, const int *devlist) {
    if (ndev < 2 || ndev > MOST) return 4;
    devices = ndev;
    for (int rank = 0; rank < ndev; rank++) {
        if (devlist[rank] != rank) return 4;
        comm[rank] = malloc(sizeof(*comm[rank]));
        comm[rank]->rank = rank;
    }
    return 0;
}

int ncclAllReduce(const void *sendbuff, void *recvbuff, size_t count, int datatype, int op, ncclComm_t comm, void *stream) {
    if (datatype != 7 || op != 0 || count > LONGEST || comm->rank >= devices || stream != (void *)0x57) return 5;
    const float *part = sendbuff;
    pthread_mutex_lock(&lock);
    while (went > 0) pthread_cond_wait(&changed, &lock);
    if (came == 0) memset(total, 0, sizeof(total));
    for (size_t at = 0; at < count; at++) total[at] += part[at];
    came++;
    pthread_cond_broadcast(&changed);
    while (came < devices && went == 0) pthread_cond_wait(&changed, &lock);
    memcpy(recvbuff, total, count * sizeof(float));
    went++;
    if (went == devices) came = went = 0;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return 0;
}

int ncclCommAbort(ncclComm_t comm) {
    free(comm);
    aborted++;
    return 0;
}

const char *ncclGetErrorString(int result) { return result == 4 ? "invalid argument" : "invalid usage"; }

/* For the test. */
int aborts(void) { return aborted; }
