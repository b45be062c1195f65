/* Preloaded as libcuda.so.1, so that autograd runs over fake CUDA tensors on a machine without a driver.

While torch picks its device guard there is no device, so that it takes one that does nothing. Then devices are made
up, none of which has a context: autograd asks for no CUDA stream. The name is that of c10::cuda::device_count(). */
static signed char devices = 0;

void pretend_devices(int count) { devices = (signed char)count; }

signed char _ZN3c104cuda12device_countEv(void) { return devices; }

int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
    (void)device;
    *flags = 0;
    *active = 0;
    return 0;
}
