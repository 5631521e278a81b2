FROM otoshi.test/busybox
COPY f /f
