/* Which sources the library was compiled from. */
#include "kernels.h"

KERNEL const char *sm_digest(void)
{
    return DIGEST;
}
