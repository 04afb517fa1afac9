/* Digest of the sources that the library was compiled from. */
#include "kernels.h"

const char *sm_digest(void)
{
    return DIGEST;
}
