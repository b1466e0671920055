//! Takes captures for RenderDoc through RenderDoc's own interface, which also works in release builds. (wgpu's
//! `start_graphics_debugger_capture` does nothing in release builds.) RenderDoc must be loaded before this process
//! opens a device.

#[cfg(any(windows, target_os = "linux"))]
use std::ffi::c_void;
use std::path::PathBuf;

/// The interface of RenderDoc in a process that runs under it.
pub struct Capture {
    #[cfg(any(windows, target_os = "linux"))]
    renderdoc: renderdoc::RenderDoc<renderdoc::V141>,
}

impl Capture {
    /// Finds RenderDoc in this process. It is `None` without RenderDoc, which exists on Linux and Windows only.
    pub fn attach() -> Option<Capture> {
        #[cfg(any(windows, target_os = "linux"))]
        return renderdoc::RenderDoc::new().ok().map(|renderdoc| Capture { renderdoc });
        #[cfg(not(any(windows, target_os = "linux")))]
        None
    }

    /// Runs `work` and captures its GPU commands. `work` must wait for them. Also returns the path of the capture
    /// file, or `None` if RenderDoc wrote no file.
    pub fn take<T>(&mut self, work: impl FnOnce() -> T) -> (T, Option<PathBuf>) {
        #[cfg(any(windows, target_os = "linux"))]
        {
            // Null pointers mean any device and any window. This process has one device and no window.
            let (device, window) = (std::ptr::null::<c_void>(), std::ptr::null());
            let before = self.renderdoc.get_num_captures();
            self.renderdoc.start_frame_capture(device, window);
            let result = work();
            self.renderdoc.end_frame_capture(device, window);
            let taken = self.renderdoc.get_num_captures() > before;
            (result, taken.then(|| self.renderdoc.get_capture(before)).flatten().map(|(path, _)| path))
        }
        #[cfg(not(any(windows, target_os = "linux")))]
        (work(), None)
    }
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("Capture")
    }
}
