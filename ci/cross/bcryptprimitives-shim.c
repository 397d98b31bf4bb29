/* bcryptprimitives.dll for wine 8, which has none. Rust's standard library takes its one function as given on every
 * Windows, so that without it no program would start. */
#include <windows.h>
#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T count) {
    while (count) {
        ULONG piece = count > 0x40000000 ? 0x40000000 : (ULONG)count;
        if (!RtlGenRandom(bytes, piece))
            return FALSE;
        bytes += piece;
        count -= piece;
    }
    return TRUE;
}
